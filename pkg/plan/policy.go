package plan

import "time"

// Policy holds the numbers that decisions follow and that no document sets.
type Policy struct {
	// Render, Provision and Delete bound one job of that kind; booting is
	// bounded by the pool's ready.timeout.
	Render    time.Duration
	Provision time.Duration
	Delete    time.Duration
	// Queue is added to a job's deadline for each open job of the same
	// worker and site: waiting in line is not the job's fault.
	Queue time.Duration
	// Grace is how long the result of a withdrawn job is waited for.
	Grace time.Duration
	// Ask is how long a guest may take to ask for its order: it reports about
	// every minute.
	Ask time.Duration
	// Busy is the wait when a busy backend names none, BusyMost the longest
	// that it may ask for.
	Busy     time.Duration
	BusyMost time.Duration
	// Idle is how often a node looks again at a yard that only observes.
	Idle time.Duration
	// Chunk is the most nodes that one decision touches; larger changes go
	// on by step messages.
	Chunk int
	// ClaimGrace is how long a claim without an owner is left alone: its
	// owner may be about to be written.
	ClaimGrace time.Duration
	// Aside is how long an address that others use is set aside. Then it is
	// given again, and set aside again if it is still in use.
	Aside time.Duration
}

// DefaultPolicy returns the policy of [NewWorld].
func DefaultPolicy() Policy {
	return Policy{
		Render:     2 * time.Minute,
		Provision:  15 * time.Minute,
		Delete:     15 * time.Minute,
		Queue:      15 * time.Second,
		Grace:      30 * time.Second,
		Ask:        2 * time.Minute,
		Busy:       10 * time.Second,
		BusyMost:   time.Hour,
		Idle:       30 * time.Second,
		Chunk:      128,
		ClaimGrace: 10 * time.Minute,
		Aside:      24 * time.Hour,
	}
}
