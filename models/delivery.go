package models

import (
	"time"

	"github.com/uptrace/bun"
)

// DeliveryStatus is where the delivery of an event to an address stands.
type DeliveryStatus string

// The states of a delivery.
const (
	DeliveryPending   DeliveryStatus = "pending"
	DeliverySending   DeliveryStatus = "sending"
	DeliveryDelivered DeliveryStatus = "delivered"
	DeliveryFailed    DeliveryStatus = "failed"
	DeliveryCancelled DeliveryStatus = "cancelled" // its trigger is gone or disabled
)

// DeliveryStatuses lists every state of a delivery.
var DeliveryStatuses = []DeliveryStatus{DeliveryPending, DeliverySending, DeliveryDelivered, DeliveryFailed, DeliveryCancelled}

// Open tells whether the delivery may still be attempted.
func (s DeliveryStatus) Open() bool { return s == DeliveryPending || s == DeliverySending }

// Delivery is an event on its way to the address of a trigger.
type Delivery struct {
	bun.BaseModel `bun:"table:deliveries"`

	WorkspaceID WorkspaceID    `bun:"workspace_id,pk"`
	ID          DeliveryID     `bun:"id,pk"`
	TriggerID   TriggerID      `bun:"trigger_id"`
	EventID     EventID        `bun:"event_id"`
	Status      DeliveryStatus `bun:"status"`
	Attempts    int            `bun:"attempts"`  // all that ended
	Round       int            `bun:"round"`     // those since it was last asked for: what retries count
	LastCode    *int           `bun:"last_code"` // HTTP status of the last answer
	LastError   string         `bun:"last_error"`
	AttendAt    *time.Time     `bun:"attend_at"` // when the next attempt is due, or the lease of this one over
	LeaseToken  string         `bun:"lease_token"`
	CreatedAt   time.Time      `bun:"created_at"`
	FinishedAt  *time.Time     `bun:"finished_at"`
}

// DeliveryAttempt is one attempt that ended.
type DeliveryAttempt struct {
	bun.BaseModel `bun:"table:delivery_attempts"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	DeliveryID  DeliveryID  `bun:"delivery_id,pk"`
	Number      int         `bun:"number,pk"`
	Code        *int        `bun:"code"`
	Error       string      `bun:"error"`
	Snippet     string      `bun:"snippet"` // how the answer began
	DurationMS  int         `bun:"duration_ms"`
	At          time.Time   `bun:"at"`
}
