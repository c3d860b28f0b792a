-- Owns what the app creates. The rotator creates the two login roles, as members of this role.
CREATE ROLE app_owner NOLOGIN;
ALTER DATABASE app OWNER TO app_owner;
