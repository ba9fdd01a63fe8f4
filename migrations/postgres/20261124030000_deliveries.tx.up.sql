-- What is due for one address is found without looking at what is due for others: an
-- address that hangs may have many.
CREATE INDEX deliveries_open ON deliveries (workspace_id, trigger_id, attend_at) WHERE attend_at IS NOT NULL;
--bun:split
-- What pruning looks for.
CREATE INDEX deliveries_by_end ON deliveries (finished_at) WHERE finished_at IS NOT NULL;
--bun:split
-- The sweep finds addresses, by the index above, and not single deliveries.
DROP INDEX deliveries_attend;
