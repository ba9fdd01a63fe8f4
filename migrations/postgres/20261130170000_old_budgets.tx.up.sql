-- What is old is looked for over all workspaces.
CREATE INDEX budget_days_by_day ON budget_days (day);
--bun:split
CREATE INDEX budget_holds_by_end ON budget_holds (expires_at);
