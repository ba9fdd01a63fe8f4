package api

import "log/slog"

// keyAttr names a key in logs, by its public part.
func keyAttr(prefix string) slog.Attr { return slog.String("key_prefix", prefix) }

// partAttr names a part of the service.
func partAttr(name string) slog.Attr { return slog.String("part", name) }
