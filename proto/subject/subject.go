// Package subject is the only place where subjects, streams and consumers
// are spelled. It holds names, not connections; the bus package makes them.
//
// Every ledger subject starts with ym.<shard>. Names of fleets, pools, sites
// and networks are DNS labels, so no token needs escaping but a claim's
// thing (see [Claim]).
package subject

import (
	"fmt"
	"strconv"
	"strings"
)

// Root is the first token of every ledger subject.
const Root = "ym"

func ledger(shard int, tokens ...string) string {
	return Root + "." + strconv.Itoa(shard) + "." + strings.Join(tokens, ".")
}

// Fleet is the record of a fleet.
func Fleet(shard int, fleet string) string { return ledger(shard, "st.fleet", fleet) }

// Revision is an immutable revision of a fleet's spec.
func Revision(shard int, fleet string, number int) string {
	return ledger(shard, "st.rev", fleet, strconv.Itoa(number))
}

// Node is the record of a node; key is pool-ordinal.
func Node(shard int, fleet, key string) string { return ledger(shard, "st.node", fleet, key) }

// DeadLetter is a node's (or input's) entry in the dead-letter list.
func DeadLetter(shard int, fleet, key string) string { return ledger(shard, "st.dlq", fleet, key) }

// Receipt proves that a command was decided.
func Receipt(shard int, fleet, id string) string { return ledger(shard, "st.rcpt", fleet, id) }

// Site is the record of a Site; like all that follows up to Seat it lives in
// shard 0.
func Site(name string) string { return ledger(0, "st.site", name) }

// Network is the record of a Network.
func Network(name string) string { return ledger(0, "st.network", name) }

// Images is the record of the images that a site shall have.
func Images(site string) string { return ledger(0, "st.images", site) }

// Place says which shard a fleet lives in.
func Place(fleet string) string { return ledger(0, "st.place", fleet) }

// Yard is the yard's own record.
func Yard() string { return ledger(0, "st.yard.self") }

// Seat says which executor is active for a site.
func Seat(site string) string { return ledger(0, "st.seat", site) }

// Claim says who holds a thing. In thing, "/" becomes "=", "." becomes "_"
// and ":" becomes "~", none of which a name can hold.
func Claim(kind, thing string) string {
	return ledger(0, "st.claim", kind, claimEscaper.Replace(thing))
}

var (
	claimEscaper   = strings.NewReplacer("/", "=", ".", "_", ":", "~")
	claimUnescaper = strings.NewReplacer("=", "/", "_", ".", "~", ":")
)

// Event is the audit log's entry i of a node, or of its fleet (key _fleet).
func Event(shard int, fleet, key string, i int64) string {
	return ledger(shard, "out.ev", fleet, key, strconv.FormatInt(i, 10))
}

// History is where a copy of an event is kept when the shard keeps it no
// more.
func History(shard int, fleet, key string, i int64) string {
	return strings.Join([]string{historyRoot, strconv.Itoa(shard), fleet, key, strconv.FormatInt(i, 10)}, ".")
}

// HistoryFilter is the filter for the copies of a shard's events.
func HistoryFilter(shard int) string { return historyRoot + "." + strconv.Itoa(shard) + ".>" }

const historyRoot = "hist"

// FleetEvents is the filter for the audit log of a fleet and its nodes.
func FleetEvents(shard int, fleet string) string { return ledger(shard, "out.ev", fleet, ">") }

// Job is job i for a worker at a site.
func Job(shard int, worker, site, fleet, key string, i int64) string { //nolint:revive // one parameter for each token
	return ledger(shard, "out.job", worker, site, fleet, key, strconv.FormatInt(i, 10))
}

// Command is an input from outside; fleet is _yard for Sites and Networks.
func Command(shard int, fleet, id string) string { return ledger(shard, "in.cmd", fleet, id) }

// Result is a worker's answer to attempt of job i.
func Result(shard int, worker, site, fleet, key string, i int64, attempt int) string { //nolint:revive // one parameter for each token
	return ledger(shard, "in.res", worker, site, fleet, key, strconv.FormatInt(i, 10), strconv.Itoa(attempt))
}

// Step is the planner's message to itself.
func Step(shard int, fleet string) string { return ledger(shard, "in.step", fleet) }

// Observation is the last value of one aspect of a node, outside the ledger.
func Observation(site, fleet, key, aspect string) string {
	return strings.Join([]string{"obs", site, fleet, key, aspect}, ".")
}

// The aspects of observations.
const (
	AspectAddress = "address" // the guest's address as the hypervisor sees it
	AspectLost    = "lost"    // the machine is not there
	AspectService = "service" // a service's heartbeat; fleet is _service
	// What a guest says of itself: to the gateway with its node's token, or
	// through guestinfo, which every user of the guest can write.
	AspectGuest     = "guest"
	AspectGuestinfo = "guestinfo"
	AspectImages    = "images" // the templates of a site; fleet is _images
)

// Alive is where a gateway tells the others that a node has spoken. Nothing
// stores it: of a hundred thousand nodes a minute it would be the bus's whole
// work.
func Alive(fleet, key string) string { return "alive." + fleet + "." + key }

// SiteImages is where an executor says which templates its site has.
func SiteImages(site string) string { return Observation(site, ImageScope, "all", AspectImages) }

// ImageScope is the fleet token of what executors say of their templates.
const ImageScope = "_images"

// ServiceScope is the fleet token of the services' own heartbeats.
const ServiceScope = "_service"

// Config is a sealed config by the digest of its clear text.
func Config(site, digest string) string { return "cfg." + site + "." + digest }

// The questions that an executor answers.
const (
	AskCheckup  = "checkup"  // what stands in the way of the site's work
	AskConsole  = "console"  // the last lines of a machine's console
	AskMachines = "machines" // the machines that carry our mark
	AskRemove   = "remove"   // remove one that belongs to nobody
)

// Ask is a question to the executor that holds a site's seat; Answer is where
// it replies to the question of that id.
func Ask(site, what string) string { return "ask." + site + "." + what }

// Answer is the reply subject of one question.
func Answer(site, id string) string { return "answer." + site + "." + id }

// Kind is what a ledger subject holds.
type Kind string

// The kinds of ledger subjects.
const (
	KindFleet      Kind = "st.fleet"
	KindRevision   Kind = "st.rev"
	KindNode       Kind = "st.node"
	KindDeadLetter Kind = "st.dlq"
	KindReceipt    Kind = "st.rcpt"
	KindSite       Kind = "st.site"
	KindNetwork    Kind = "st.network"
	KindImages     Kind = "st.images"
	KindPlace      Kind = "st.place"
	KindYard       Kind = "st.yard"
	KindSeat       Kind = "st.seat"
	KindClaim      Kind = "st.claim"
	KindEvent      Kind = "out.ev"
	KindJob        Kind = "out.job"
	KindCommand    Kind = "in.cmd"
	KindResult     Kind = "in.res"
	KindStep       Kind = "in.step"
)

// lengths is how many tokens follow each kind.
var lengths = map[Kind]int{
	KindFleet: 1, KindRevision: 2, KindNode: 2, KindDeadLetter: 2, KindReceipt: 2,
	KindSite: 1, KindNetwork: 1, KindImages: 1, KindPlace: 1, KindYard: 1, KindSeat: 1, KindClaim: 2,
	KindEvent: 3, KindJob: 5, KindCommand: 2, KindResult: 6, KindStep: 1,
}

// Name is a parsed ledger subject; fields that its kind lacks are empty.
type Name struct {
	Shard   int
	Kind    Kind
	Fleet   string
	Node    string // key
	Worker  string
	Site    string
	ID      string // command or receipt id; claim kind; document name
	Thing   string // claim's thing, unescaped
	Number  int64  // event, job or revision number
	Attempt int
}

// Parse takes a ledger subject apart.
func Parse(s string) (Name, error) {
	t := strings.Split(s, ".")
	if len(t) < 5 || t[0] != Root {
		return Name{}, fmt.Errorf("subject %q is not of the ledger", s)
	}
	shard, err := strconv.Atoi(t[1])
	if err != nil || shard < 0 {
		return Name{}, fmt.Errorf("subject %q: shard %q is not a number", s, t[1])
	}
	n := Name{Shard: shard, Kind: Kind(t[2] + "." + t[3])}
	rest := t[4:]
	if want, ok := lengths[n.Kind]; !ok || want != len(rest) {
		return Name{}, fmt.Errorf("subject %q is of no known form", s)
	}
	if err := n.fill(rest); err != nil {
		return Name{}, fmt.Errorf("subject %q: %w", s, err)
	}
	return n, nil
}

func (n *Name) fill(t []string) (err error) {
	switch n.Kind {
	case KindFleet, KindPlace, KindStep:
		n.Fleet = t[0]
	case KindSite, KindNetwork, KindImages, KindYard, KindSeat:
		n.ID = t[0]
	case KindNode, KindDeadLetter:
		n.Fleet, n.Node = t[0], t[1]
	case KindReceipt, KindCommand:
		n.Fleet, n.ID = t[0], t[1]
	case KindClaim:
		n.ID, n.Thing = t[0], claimUnescaper.Replace(t[1])
	case KindRevision:
		n.Fleet = t[0]
		n.Number, err = strconv.ParseInt(t[1], 10, 64)
	case KindEvent:
		n.Fleet, n.Node = t[0], t[1]
		n.Number, err = strconv.ParseInt(t[2], 10, 64)
	case KindJob, KindResult:
		n.Worker, n.Site, n.Fleet, n.Node = t[0], t[1], t[2], t[3]
		if n.Number, err = strconv.ParseInt(t[4], 10, 64); err == nil && n.Kind == KindResult {
			n.Attempt, err = strconv.Atoi(t[5])
		}
	}
	return err
}

// Token makes one subject token of free text, such as a host's name.
func Token(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, s)
}
