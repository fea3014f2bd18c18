package wire

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// Subject is where a record is stored; shard is that of its fleet, and of no
// account for what lives in shard 0.
func Subject(shard int, r plan.Record) string {
	switch r := r.(type) {
	case *plan.Fleet:
		return subject.Fleet(shard, r.Name)
	case *plan.Revision:
		return subject.Revision(shard, r.Fleet, r.Number)
	case *plan.Node:
		return subject.Node(shard, r.Fleet, r.Key())
	case *plan.DeadLetter:
		return subject.DeadLetter(shard, r.Fleet, r.Node)
	case *plan.Receipt:
		return subject.Receipt(shard, r.Fleet, r.ID)
	case *plan.Claim:
		return subject.Claim(r.Kind, r.Thing)
	case *plan.Place:
		return subject.Place(r.Fleet)
	case *plan.Site:
		return subject.Site(r.Document.Metadata.Name)
	case *plan.Network:
		return subject.Network(r.Document.Metadata.Name)
	case *plan.Images:
		return subject.Images(r.Site)
	case *plan.Yard:
		return subject.Yard()
	}
	return ""
}

// Record encodes a record. A free claim and a dead letter that was dealt
// with are empty messages.
func Record(r plan.Record, kept *Kept) (Message, error) {
	switch r := r.(type) {
	case *plan.Claim:
		if r.Fleet == "" {
			return Message{Type: TypeClaim}, nil
		}
	case *plan.DeadLetter:
		if r.Reason == "" {
			return Message{Type: TypeDeadLetter}, nil
		}
	}
	typ, m, err := recordMessage(r)
	if err != nil {
		return Message{}, err
	}
	return encode(typ, m, kept)
}

func recordMessage(r plan.Record) (typ string, m proto.Message, err error) {
	switch r := r.(type) {
	case *plan.Fleet:
		return TypeFleet, fleetMessage(r), nil
	case *plan.Revision:
		doc, err := document(&r.Document)
		return TypeRevision, &ymv1.RevisionRecord{
			Fleet: r.Fleet, FleetUid: r.FleetUID, Number: int32(r.Number), At: stamp(r.At), By: r.By, Document: doc,
		}, err
	case *plan.Node:
		return TypeNode, nodeMessage(r), nil
	case *plan.DeadLetter:
		return TypeDeadLetter, &ymv1.DeadLetterRecord{
			Fleet: r.Fleet, Node: r.Node, Stage: string(r.Stage), Reason: string(r.Reason), Message: r.Message, Hint: r.Hint,
			Attempts: int32(r.Attempts), Since: stamp(r.Since), Log: r.Log,
		}, nil
	case *plan.Receipt:
		return TypeReceipt, &ymv1.ReceiptRecord{
			Fleet: r.Fleet, Id: r.ID, At: stamp(r.At), Accepted: r.Accepted, Refusal: r.Refusal, Code: r.Code,
			Revision: int32(r.Revision), Summary: r.Summary,
		}, nil
	}
	return yardMessage(r)
}

// yardMessage converts what lives in shard 0.
func yardMessage(r plan.Record) (typ string, m proto.Message, err error) {
	switch r := r.(type) {
	case *plan.Claim:
		return TypeClaim, &ymv1.ClaimRecord{
			Kind: r.Kind, Thing: r.Thing, Fleet: r.Fleet, FleetUid: r.FleetUID, Node: r.Node, Shard: int32(r.Shard), Since: stamp(r.Since),
			Incarnation: int32(r.Incarnation), Why: r.Why,
		}, nil
	case *plan.Place:
		return TypePlace, &ymv1.PlaceRecord{Fleet: r.Fleet, Shard: int32(r.Shard)}, nil
	case *plan.Site:
		doc, err := document(&r.Document)
		return TypeSite, &ymv1.SiteRecord{Document: doc, At: stamp(r.At), Deleted: r.Deleted}, err
	case *plan.Network:
		doc, err := document(&r.Document)
		return TypeNetwork, &ymv1.NetworkRecord{Document: doc, At: stamp(r.At), Deleted: r.Deleted}, err
	case *plan.Images:
		return TypeImages, imagesMessage(r), nil
	case *plan.Yard:
		return TypeYard, &ymv1.YardRecord{
			Uid: r.UID, Format: int32(r.Format), Shards: int32(r.Shards), ObserveOnly: r.ObserveOnly,
		}, nil
	}
	return "", nil, fmt.Errorf("encode record: %T is of no known type", r)
}

func fleetMessage(r *plan.Fleet) *ymv1.FleetRecord {
	return &ymv1.FleetRecord{
		Name: r.Name, Uid: r.UID, Revision: int32(r.Revision), Created: stamp(r.Created),
		Targets: counts(r.Targets), SpecReplicas: counts(r.SpecReplicas), Deleting: r.Deleting, Deleted: r.Deleted,
		Settled: int32(r.Settled), Stepping: r.Stepping, Event: r.Event,
		Disrupted: counts(r.Disrupted), Surged: counts(r.Surged),
		Paused: r.Paused, PausedBy: r.PausedBy, PausedAt: stamp(r.PausedAt), CallBack: r.CallBack,
	}
}

func nodeMessage(n *plan.Node) *ymv1.NodeRecord {
	m := &ymv1.NodeRecord{
		Fleet: n.Fleet, FleetUid: n.FleetUID, Pool: n.Pool, Ordinal: int32(n.Ordinal),
		State: string(n.State), Since: stamp(n.Since), Goal: string(n.Goal), Created: stamp(n.Created), ReadyAt: stamp(n.ReadyAt),
		Incarnation: int32(n.Incarnation), Attempt: int32(n.Attempt), Revision: int32(n.Revision), PoolHash: n.PoolHash,
		Event: n.Event, Due: stamp(n.Due), DueFor: string(n.DueFor), Deadline: stamp(n.Deadline),
		Reason: string(n.Reason), Message: n.Message, Hint: n.Hint,
		Site: n.Site, FailureDomain: n.Domain, Mac: n.MAC, ConfigDigest: n.ConfigDigest, ConfigSize: int32(n.ConfigSize), TokenSha256: n.TokenSHA256,
		MachineId: n.MachineID, MachineUuid: n.MachineUUID, GuestAddress: n.GuestAddress, OsVersion: n.OSVersion, Trace: n.Trace,
		Boots: int32(n.Boots), Reported: n.Reported, Chore: string(n.Chore),
		Skipped: n.Skipped, Cancelled: n.Cancelled,
		FormerTokenSha256: n.FormerToken, Obeys: n.Obeys,
		HotCpu: n.Hot.CPU, HotMemory: n.Hot.Memory, Restarted: stamp(n.Restarted), Begun: stamp(n.Begun),
	}
	if j := n.Job; j != nil {
		m.Job = &ymv1.OpenJob{
			Number: j.Number, Worker: string(j.Worker), Site: j.Site, Action: string(j.Action),
			Attempt: int32(j.Attempt), Withdrawn: j.Withdrawn, Made: j.Made,
		}
	}
	for _, a := range n.Addresses {
		m.Addresses = append(m.Addresses, &ymv1.NodeAddress{Network: a.Network, Addr: a.Addr})
	}
	return m
}

// DecodeRecord reads a record stored at a subject. An empty body is a free
// claim or a dead letter that was dealt with; a kind that is no record of
// the core (a seat) gives nil.
func DecodeRecord(name subject.Name, typ, version string, body []byte) (plan.Record, *Kept, error) {
	if len(body) == 0 {
		switch name.Kind { //nolint:exhaustive // all others are never empty
		case subject.KindClaim:
			return &plan.Claim{Kind: name.ID, Thing: name.Thing}, nil, nil
		case subject.KindDeadLetter:
			return &plan.DeadLetter{Fleet: name.Fleet, Node: name.Node}, nil, nil
		}
	}
	m, err := Decode(typ, version, body)
	if err != nil {
		return nil, nil, err
	}
	r, err := recordOf(m)
	return r, keep(m), err
}

func recordOf(m proto.Message) (plan.Record, error) {
	switch m := m.(type) {
	case *ymv1.FleetRecord:
		return fleetRecord(m), nil
	case *ymv1.RevisionRecord:
		r := &plan.Revision{
			Fleet: m.GetFleet(), FleetUID: m.GetFleetUid(), Number: int(m.GetNumber()), At: when(m.GetAt()), By: m.GetBy(),
		}
		return r, undocument(m.GetDocument(), &r.Document)
	case *ymv1.NodeRecord:
		return nodeRecord(m), nil
	case *ymv1.DeadLetterRecord:
		return &plan.DeadLetter{
			Fleet: m.GetFleet(), Node: m.GetNode(), Stage: plan.State(m.GetStage()), Reason: reason(m.GetReason()),
			Message: m.GetMessage(), Hint: m.GetHint(), Attempts: int(m.GetAttempts()), Since: when(m.GetSince()), Log: m.GetLog(),
		}, nil
	case *ymv1.ReceiptRecord:
		return &plan.Receipt{
			Fleet: m.GetFleet(), ID: m.GetId(), At: when(m.GetAt()), Accepted: m.GetAccepted(), Refusal: m.GetRefusal(),
			Code: m.GetCode(), Revision: int(m.GetRevision()), Summary: m.GetSummary(),
		}, nil
	}
	return yardRecord(m)
}

// yardRecord converts what lives in shard 0.
func yardRecord(m proto.Message) (plan.Record, error) {
	switch m := m.(type) {
	case *ymv1.ClaimRecord:
		return &plan.Claim{
			Kind: m.GetKind(), Thing: m.GetThing(), Fleet: m.GetFleet(), FleetUID: m.GetFleetUid(), Node: m.GetNode(),
			Shard: int(m.GetShard()), Since: when(m.GetSince()), Incarnation: int(m.GetIncarnation()), Why: m.GetWhy(),
		}, nil
	case *ymv1.PlaceRecord:
		return &plan.Place{Fleet: m.GetFleet(), Shard: int(m.GetShard())}, nil
	case *ymv1.SiteRecord:
		r := &plan.Site{At: when(m.GetAt()), Deleted: m.GetDeleted()}
		return r, undocument(m.GetDocument(), &r.Document)
	case *ymv1.NetworkRecord:
		r := &plan.Network{At: when(m.GetAt()), Deleted: m.GetDeleted()}
		return r, undocument(m.GetDocument(), &r.Document)
	case *ymv1.ImagesRecord:
		return imagesRecord(m), nil
	case *ymv1.YardRecord:
		return &plan.Yard{
			UID: m.GetUid(), Format: int(m.GetFormat()), Shards: int(m.GetShards()), ObserveOnly: m.GetObserveOnly(),
		}, nil
	case *ymv1.Seat:
		return nil, nil //nolint:nilnil // a seat is the executors' own; the core does not know it
	}
	return nil, fmt.Errorf("decode record: %s is no record", m.ProtoReflect().Descriptor().Name())
}

func fleetRecord(m *ymv1.FleetRecord) *plan.Fleet {
	return &plan.Fleet{
		Name: m.GetName(), UID: m.GetUid(), Revision: int(m.GetRevision()), Created: when(m.GetCreated()),
		Targets: ints(m.GetTargets()), SpecReplicas: ints(m.GetSpecReplicas()), Deleting: m.GetDeleting(), Deleted: m.GetDeleted(),
		Settled: int(m.GetSettled()), Stepping: m.GetStepping(), Event: m.GetEvent(),
		Disrupted: ints(m.GetDisrupted()), Surged: ints(m.GetSurged()),
		Paused: m.GetPaused(), PausedBy: m.GetPausedBy(), PausedAt: when(m.GetPausedAt()), CallBack: m.GetCallBack(),
	}
}

func nodeRecord(m *ymv1.NodeRecord) *plan.Node {
	n := &plan.Node{
		Fleet: m.GetFleet(), FleetUID: m.GetFleetUid(), Pool: m.GetPool(), Ordinal: int(m.GetOrdinal()),
		State: plan.State(m.GetState()), Since: when(m.GetSince()), Goal: plan.Goal(m.GetGoal()),
		Created: when(m.GetCreated()), ReadyAt: when(m.GetReadyAt()),
		Incarnation: int(m.GetIncarnation()), Attempt: int(m.GetAttempt()), Revision: int(m.GetRevision()), PoolHash: m.GetPoolHash(),
		Event: m.GetEvent(), Due: when(m.GetDue()), DueFor: plan.DueFor(m.GetDueFor()), Deadline: when(m.GetDeadline()),
		Reason: reason(m.GetReason()), Message: m.GetMessage(), Hint: m.GetHint(),
		Site: m.GetSite(), Domain: m.GetFailureDomain(), MAC: m.GetMac(), ConfigDigest: m.GetConfigDigest(), ConfigSize: int(m.GetConfigSize()),
		TokenSHA256: m.GetTokenSha256(), MachineID: m.GetMachineId(), MachineUUID: m.GetMachineUuid(),
		GuestAddress: m.GetGuestAddress(), OSVersion: m.GetOsVersion(), Trace: m.GetTrace(),
		Boots: int(m.GetBoots()), Reported: m.GetReported(), Chore: plan.Action(m.GetChore()),
		Skipped: m.GetSkipped(), Cancelled: m.GetCancelled(),
		FormerToken: m.GetFormerTokenSha256(), Obeys: m.GetObeys(),
		Hot: plan.Hot{CPU: m.GetHotCpu(), Memory: m.GetHotMemory()}, Restarted: when(m.GetRestarted()), Begun: when(m.GetBegun()),
	}
	if j := m.GetJob(); j != nil {
		n.Job = &plan.OpenJob{
			Number: j.GetNumber(), Worker: plan.Worker(j.GetWorker()), Site: j.GetSite(), Action: plan.Action(j.GetAction()),
			Attempt: int(j.GetAttempt()), Withdrawn: j.GetWithdrawn(), Made: j.GetMade(),
		}
	}
	for _, a := range m.GetAddresses() {
		n.Addresses = append(n.Addresses, plan.Address{Network: a.GetNetwork(), Addr: a.GetAddr()})
	}
	return n
}
