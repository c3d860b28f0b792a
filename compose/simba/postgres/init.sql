-- Owns what Simba makes. The two roles that take turns are made by the rotator, as members of this one.
CREATE ROLE simba_owner NOLOGIN;
ALTER DATABASE simba OWNER TO simba_owner;
