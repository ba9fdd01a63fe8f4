package tasks

import "strings"

// A queue of steps comes in three: by its own name for most steps, and with one of
// these behind it for those of workflows whose priority is another. Each is read by
// itself, so a long queue of one does not hide what is in the next.
const (
	high = "-high"
	low  = "-low"
)

// Ranked gives the queue for steps of a priority: low, normal or high. Empty is normal.
func Ranked(queue, priority string) string {
	switch priority {
	case "high", "low":
		return queue + "-" + priority
	}
	return queue
}

// Rank takes the name of a queue apart. rank is 1 for one of high priority, -1 for
// one of low, and else 0.
func Rank(name string) (queue string, rank int) {
	if queue, ok := strings.CutSuffix(name, high); ok {
		return queue, 1
	}
	if queue, ok := strings.CutSuffix(name, low); ok {
		return queue, -1
	}
	return name, 0
}

// Ranks lists the queues that belong to the one of a name, the highest priority
// first.
func Ranks(queue string) []string {
	if queue == QueueSystem {
		return []string{queue}
	}
	return []string{queue + high, queue, queue + low}
}
