package plan

import (
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// Outcome is a decision: what must be written, in one atomic batch.
type Outcome struct {
	// Claims, if any, must be held first: they are written to shard 0 by
	// compare-and-set, taken into the World, and the input is decided anew.
	// The rest of the outcome is then empty.
	Claims []*Claim
	// Records are written last in the batch, each at most once.
	Records []Record
	Events  []*Event
	Jobs    []*Job
	// Withdrawn jobs have their subjects overwritten empty.
	Withdrawn []JobRef
	// Step asks for a message to oneself, to go on with a long fan-out.
	Step bool
	// Releases are claims that are freed, or set aside, after the batch has landed; if
	// that is lost in a crash, the audit frees them later.
	Releases []*Claim
}

// Event is one step in a node's (or fleet's) story: the audit log.
type Event struct {
	Fleet    string
	FleetUID string
	// Node is the node's key, or FleetEvents for the fleet's own events.
	Node        string
	Number      int64
	At          time.Time
	Incarnation int
	Attempt     int
	// Fact is what happened, From and To the state before and after.
	Fact Fact
	From State
	To   State
	// By is who: a worker's instance, a token's name, planner.
	By string
	// Input is the id of the input that was decided.
	Input   string
	Reason  fault.Reason
	Message string
	// Took is how long the job behind the fact ran; zero if there was none.
	Took     time.Duration
	Revision int
	// Disrupted and Surged repeat the pool's budget in use after the event,
	// so that a replay can check them.
	Disrupted int
	Surged    int
}

// FleetEvents is the node token of a fleet's own events.
const FleetEvents = "_fleet"

// JobRef names a job's subject.
type JobRef struct {
	Worker Worker
	Site   string
	Fleet  string
	Node   string
	Number int64
}

// Job is one piece of work for a worker; it says all that the worker needs
// but the config layers (they stand in the revision) and the secrets.
type Job struct {
	JobRef
	FleetUID    string
	Action      Action
	Incarnation int
	Attempt     int
	Revision    int
	// Made is when it was decided upon, in nanoseconds since 1970. Its answer
	// repeats it: a power cut can undo a job that was delivered already, and
	// then another one has its number.
	Made int64
	// Deadline is when the result is no longer of use.
	Deadline time.Time

	Pool         string
	Ordinal      int
	Hostname     string
	MachineUUID  string
	MachineID    string
	MAC          string
	Networks     []JobNetwork
	ConfigDigest string
	VSphere      *fleet.VSphere
	// Restart lets a resize switch the machine off and on.
	Restart bool
	// OSChannel and OSVersion are the release that the fleet names: a
	// template that is named by it can be imported if it is missing.
	OSChannel string
	OSVersion string
	// PhoneHome is the URL base that the node reports to; empty means the
	// renderer's configured gateway.
	PhoneHome string
	Trace     string
}

// JobNetwork is one address of a node with all that the guest needs to use
// it. DHCP means that nothing else is known of the address.
type JobNetwork struct {
	Network   string
	DHCP      bool
	Addr      string
	Prefix    int
	Gateway   string
	DNS       []string
	Portgroup string
	Routes    []fleet.Route
	// Card is the number of the network card that carries the address, MAC
	// its hardware address; empty means the machine's own.
	Card int
	MAC  string
	// Side means that the default route goes another way.
	Side bool
}
