package engine

// ForgetLines makes an engine die, as far as others can see, right after each of its
// commits that would move a line.
func (e *Engine) ForgetLines() { e.lines.close() }
