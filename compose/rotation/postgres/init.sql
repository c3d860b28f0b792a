-- Owns what the app makes. The two roles that take turns are made by the rotator, as members of this one.
CREATE ROLE app_owner NOLOGIN;
ALTER DATABASE app OWNER TO app_owner;
