package plan

import (
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// Input is one thing that the planner decides on. Exactly one of the
// pointers is set.
type Input struct {
	// ID names the input in events: its subject, or what made it up.
	ID string
	// Fleet is the fleet it concerns, _yard for the yard's documents.
	Fleet string

	Command     *Command
	Result      *Result
	Due         *Due
	Step        *Step
	Observation *Observation
}

// YardScope is the fleet token of commands about the yard's own documents.
const YardScope = "_yard"

// Command is what a person, an autoscaler or a node asks for. ID makes it
// idempotent: its receipt is written with its effects. Exactly one of the
// pointers is set.
type Command struct {
	ID string
	// By says who, for the audit log.
	By string
	At time.Time

	ApplyFleet   *ApplyFleet
	ApplyNetwork *fleet.Network
	ApplySite    *fleet.Site
	DeleteFleet  *DeleteFleet
	Delete       *DeleteDocument
	Place        *PlaceFleet
	Scale        *Scale
	Retry        *RetryNodes
	PhoneHome    *PhoneHome
	ImportImage  *ImportImage
	ForgetImage  *ForgetImage
	Mend         *MendNodes
	Pause        *Pause
	Orphans      *RemoveOrphans
	Release      *ReleaseAddress
}

// ReleaseAddress gives an address back that was set aside because others
// used it.
type ReleaseAddress struct{ Network, Addr string }

// ApplyFleet submits a fleet spec.
type ApplyFleet struct {
	Document fleet.Fleet
	// PlanBasis, if not empty, is the World's Basis that the accepted plan
	// was computed from; the planner refuses if it moved.
	PlanBasis string
	// KeepTargets leaves the live targets of pools that exist as they are,
	// whatever replicas says: a rollback.
	KeepTargets bool
	Brakes
}

// Brakes override the fleet's for one command, as far as they are set.
type Brakes struct {
	MaxDestroyPercent *int
	MaxCreate         *int
}

// DeleteFleet removes a fleet with all its nodes.
type DeleteFleet struct{ Name string }

// DeleteDocument removes a Network or Site that nothing uses.
type DeleteDocument struct {
	Kind fleet.Kind
	Name string
}

// ImportImage asks for an image to be brought to a site.
type ImportImage struct {
	Site  string
	Image fleet.Image
}

// ForgetImage takes the wish back; a template that is there stays.
type ForgetImage struct{ Site, Name string }

// PlaceFleet asks shard 0 for the fleet's shard before its first apply.
type PlaceFleet struct{ Name string }

// Scale sets a pool's live target.
type Scale struct {
	Pool   string
	Target int
	// Basis, if set, is the target that the asker saw; refused if it moved.
	Basis *int
	Brakes
}

// RetryNodes takes failed nodes out of the dead-letter list and tries again.
type RetryNodes struct {
	// Nodes are keys; empty means every failed node of the fleet.
	Nodes []string
	// Reason, if set, picks only nodes that failed for it.
	Reason fault.Reason
	// Altogether is how many nodes the asker means, if he names them in
	// several commands: the brake counts them all.
	Altogether int
	// MaxDestroyPercent overrides the fleet's brake for this command.
	MaxDestroyPercent *int
}

// PhoneHome is a node's own word that it booted.
type PhoneHome struct {
	Node        string
	Incarnation int
	TokenSHA256 string
	Address     string
	MachineID   string
	BootID      string
	OSVersion   string
	// Obeys means that the guest takes orders.
	Obeys bool
}

// Result is what a worker reports of a job.
type Result struct {
	Node        string
	Job         int64
	Attempt     int
	Incarnation int
	// Made is that of the job; 0 from workers that do not know it.
	Made   int64
	Worker Worker
	// Site is whose worker it was, by the subject that it may publish to;
	// empty in tests only.
	Site   string
	Action Action
	// By is the worker's instance name.
	By       string
	Started  time.Time
	Finished time.Time
	// Failure is nil when the job was done.
	Failure *Failure

	// What was found or made; empty when not applicable.
	ConfigDigest string
	ConfigSize   int
	TokenSHA256  string
	MachineID    string
	MachineUUID  string
	// Adopted means that the machine was there already.
	Adopted bool
	// Hot is what the machine takes while it runs.
	Hot Hot
}

// Failure is a classified error on the wire.
type Failure struct {
	Kind       fault.Kind
	Reason     fault.Reason
	Message    string
	Hint       string
	RetryAfter time.Duration
	Log        []string
	// Taken are the job's addresses that others use.
	Taken []string
}

// Due is an overdue deadline, made up by the planner's heap. Event is the
// node's event number that it was set at; else it is stale.
type Due struct {
	Node  string
	Event int64
}

// Step goes on with a long fan-out of a fleet.
type Step struct{}

// Observation is what an executor sees of a machine.
type Observation struct {
	// Site is whose executor saw it, by the subject that it may publish to.
	Site        string
	Node        string
	Incarnation int
	// Address is the guest's address as the hypervisor reports it, At when it
	// was seen.
	Address string
	At      time.Time
	// Lost means that the machine of a node is no longer there; Detail says
	// more, such as the last lines of its console log.
	Lost   bool
	Detail string
}
