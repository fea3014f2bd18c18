package executor

import (
	"fmt"
	"strconv"
	"strings"

	"yardmaster.dev/pkg/plan"
)

// Owner is the proof of ownership that a machine carries: nothing is touched
// whose proof does not match.
type Owner struct {
	Yard        string
	FleetUID    string
	Node        string // key
	Incarnation int
}

// OwnerOf returns the proof that the machine of a job must carry.
func OwnerOf(yard string, j *plan.Job) Owner {
	return Owner{Yard: yard, FleetUID: j.FleetUID, Node: j.Node, Incarnation: j.Incarnation}
}

// String returns the proof as it is stored: yard/fleet uid/node/incarnation.
func (o Owner) String() string {
	return strings.Join([]string{o.Yard, o.FleetUID, o.Node, strconv.Itoa(o.Incarnation)}, "/")
}

// ParseOwner reads what String wrote.
func ParseOwner(s string) (Owner, error) {
	t := strings.Split(s, "/")
	if len(t) != 4 {
		return Owner{}, fmt.Errorf("owner key %q does not have four parts", s)
	}
	n, err := strconv.Atoi(t[3])
	if err != nil {
		return Owner{}, fmt.Errorf("owner key %q: incarnation: %w", s, err)
	}
	return Owner{Yard: t[0], FleetUID: t[1], Node: t[2], Incarnation: n}, nil
}

// SameNode reports whether both are machines of one node, whatever their
// incarnations.
func (o Owner) SameNode(other Owner) bool {
	o.Incarnation = other.Incarnation
	return o == other
}
