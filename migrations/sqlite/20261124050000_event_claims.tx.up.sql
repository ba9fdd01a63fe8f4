-- Until when the process that matches an event has it for itself.
ALTER TABLE events ADD COLUMN claimed_until timestamp;
