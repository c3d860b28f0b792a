-- Owns what Simba creates. The rotator creates the two login roles, as members of this role.
CREATE ROLE simba_owner NOLOGIN;
ALTER DATABASE simba OWNER TO simba_owner;
