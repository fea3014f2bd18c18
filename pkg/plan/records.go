package plan

import (
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// Record is one thing that the planner owns: *Fleet, *Revision, *Node,
// *DeadLetter, *Receipt, *Claim, *Place, *Site, *Network, *Images, *Yard.
type Record interface{ record() }

// Fleet is the record of a fleet.
type Fleet struct {
	Name string
	// UID tells this fleet from an earlier one of the same name.
	UID string
	// Revision is the newest accepted revision.
	Revision int
	Created  time.Time
	// Targets is the live number of nodes per pool, kept apart from the
	// spec: re-applying a spec never undoes a scale event.
	Targets map[string]int
	// SpecReplicas is what the spec said when Targets was last taken from
	// it, per pool; only a change of it moves a target.
	SpecReplicas map[string]int
	// Deleting means that the fleet goes once its nodes are gone; Deleted
	// is the tombstone, which keeps the numbers.
	Deleting bool
	Deleted  bool
	// Settled is the revision that every node has reached.
	Settled int
	// Stepping means that a step input is under way for a long fan-out.
	Stepping bool
	// Event is the number of the fleet's own newest event.
	Event int64
	// Disrupted and Surged are the budgets in use, per pool: nodes taken
	// down on purpose and not back, nodes beyond the target.
	Disrupted map[string]int
	Surged    map[string]int
	// Paused means that nothing is begun; PausedBy and PausedAt say since
	// when and by whom. CallBack means that jobs which make something are
	// being withdrawn.
	Paused   bool
	PausedBy string
	PausedAt time.Time
	CallBack bool
}

// Revision is an immutable accepted spec.
type Revision struct {
	Fleet    string
	FleetUID string
	Number   int
	At       time.Time
	By       string
	Document fleet.Fleet
}

// DeadLetter is a node (or an input) that needs a person. An empty Reason
// means that it was dealt with.
type DeadLetter struct {
	Fleet    string
	Node     string // key; _in-<seq> for a poisonous input
	Stage    State
	Reason   fault.Reason
	Message  string
	Hint     string
	Attempts int
	Since    time.Time
	Log      []string
}

// Receipt proves that a command was decided.
type Receipt struct {
	Fleet    string // _yard for Site, Network and place commands
	ID       string
	At       time.Time
	Accepted bool
	// Refusal says why not, in the words of the CLI.
	Refusal []string
	// Code is why a command was refused: see the Refused constants.
	Code     string
	Revision int
	// Summary counts what the command set in motion.
	Summary string
}

// The refusal codes.
const (
	RefusedInvalid   = "invalid"   // wrong input
	RefusedMoved     = "moved"     // the plan no longer holds
	RefusedBrake     = "brake"     // mass-destroy brake, deletion protection
	RefusedCollision = "collision" // names collide with another fleet's
	RefusedNotFound  = "not_found"
	RefusedInUse     = "in_use" // a Site or Network that fleets still use
)

// Claim says who holds an address or a name, or uses a document. An empty
// Fleet is a free one; FleetUID and Node then say whose it was, as far as is
// known.
type Claim struct {
	Kind     string // address, name or use
	Thing    string // network/10.0.0.10, or fleet-pool, or site/dc1/fleet
	Fleet    string
	FleetUID string
	Node     string // key; empty for a name
	Shard    int
	Since    time.Time
	// Incarnation is the node's life that asked for an address; one that an
	// earlier life left behind is not used again before it was freed.
	Incarnation int
	// Why is why an address is set aside.
	Why string
}

// Aside stands in the place of the fleet in the claim on an address that is
// nobody's and not to be given: somebody else uses it.
const Aside = "_aside"

// The kinds of claims.
const (
	ClaimAddress = "address"
	ClaimName    = "name"
	// ClaimUse says that a fleet refers to a Site or Network, which therefore
	// must not be deleted; fleets of other shards are known by it alone.
	ClaimUse = "use"
)

// Place says which shard a fleet lives in.
type Place struct {
	Fleet string
	Shard int
}

// Site is the record of a Site document.
type Site struct {
	Document fleet.Site
	At       time.Time
	Deleted  bool
}

// Network is the record of a Network document.
type Network struct {
	Document fleet.Network
	At       time.Time
	Deleted  bool
}

// Images is the record of the images that a site shall have as templates: its
// executor's level-triggered instruction.
type Images struct {
	Site   string
	Wanted []WantedImage
}

// WantedImage is one of them. Asking for it again sets Asked anew, upon which
// the executor tries again what failed.
type WantedImage struct {
	fleet.Image
	Asked time.Time
	By    string
}

// MaxImages is how many images a site may be asked to have: its record is one
// message.
const MaxImages = 64

// Yard is the record of the yard itself.
type Yard struct {
	UID string
	// Format is the record format that writers use; an older planner
	// stands by.
	Format int
	Shards int
	// ObserveOnly forbids every job (after a restore).
	ObserveOnly bool
}

func (*Fleet) record()      {}
func (*Revision) record()   {}
func (*Node) record()       {}
func (*DeadLetter) record() {}
func (*Receipt) record()    {}
func (*Claim) record()      {}
func (*Place) record()      {}
func (*Site) record()       {}
func (*Network) record()    {}
func (*Images) record()     {}
func (*Yard) record()       {}
