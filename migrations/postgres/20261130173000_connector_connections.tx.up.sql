-- The connection with which the actions of a registered connector are done, and its
-- description is asked for, where nobody names another. It may be deleted all the same,
-- so nothing refers to it; empty: none.
ALTER TABLE connectors ADD COLUMN connection text COLLATE "C" NOT NULL DEFAULT '';
