package wire

import (
	"fmt"
	"time"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// Command encodes a command.
func Command(c *plan.Command) (Message, error) {
	m := &ymv1.Command{Id: c.ID, By: c.By, At: stamp(c.At)}
	switch {
	case c.ApplyFleet != nil:
		doc, err := document(&c.ApplyFleet.Document)
		if err != nil {
			return Message{}, err
		}
		m.What = &ymv1.Command_ApplyFleet{ApplyFleet: &ymv1.ApplyFleet{
			Document: doc, PlanBasis: c.ApplyFleet.PlanBasis,
			MaxDestroyPercent: optional(c.ApplyFleet.MaxDestroyPercent), MaxCreate: optional(c.ApplyFleet.MaxCreate),
			KeepTargets: c.ApplyFleet.KeepTargets,
		}}
	case c.ApplyNetwork != nil:
		doc, err := document(c.ApplyNetwork)
		if err != nil {
			return Message{}, err
		}
		m.What = &ymv1.Command_ApplyNetwork{ApplyNetwork: &ymv1.ApplyDocument{Document: doc}}
	case c.ApplySite != nil:
		doc, err := document(c.ApplySite)
		if err != nil {
			return Message{}, err
		}
		m.What = &ymv1.Command_ApplySite{ApplySite: &ymv1.ApplyDocument{Document: doc}}
	default:
		if err := smallCommand(c, m); err != nil {
			return Message{}, err
		}
	}
	return encode(TypeCommand, m, nil)
}

// smallCommand converts the commands that carry no document.
func smallCommand(c *plan.Command, m *ymv1.Command) error { //nolint:gocyclo // one case per command
	switch {
	case c.DeleteFleet != nil:
		m.What = &ymv1.Command_DeleteFleet{DeleteFleet: &ymv1.DeleteFleet{Name: c.DeleteFleet.Name}}
	case c.Delete != nil:
		m.What = &ymv1.Command_Delete{Delete: &ymv1.DeleteDocument{Kind: string(c.Delete.Kind), Name: c.Delete.Name}}
	case c.Place != nil:
		m.What = &ymv1.Command_Place{Place: &ymv1.PlaceFleet{Name: c.Place.Name}}
	case c.Scale != nil:
		m.What = &ymv1.Command_Scale{Scale: &ymv1.ScalePool{
			Pool: c.Scale.Pool, Target: int32(c.Scale.Target), Basis: optional(c.Scale.Basis),
			MaxDestroyPercent: optional(c.Scale.MaxDestroyPercent), MaxCreate: optional(c.Scale.MaxCreate),
		}}
	case c.Retry != nil:
		m.What = &ymv1.Command_Retry{Retry: &ymv1.RetryNodes{
			Nodes: c.Retry.Nodes, Reason: string(c.Retry.Reason),
			Altogether: int32(c.Retry.Altogether), MaxDestroyPercent: optional(c.Retry.MaxDestroyPercent),
		}}
	case c.Mend != nil:
		m.What = &ymv1.Command_Mend{Mend: &ymv1.MendNodes{
			Mend: string(c.Mend.Mend), Nodes: c.Mend.Nodes, Reason: string(c.Mend.Reason), MaxDestroyPercent: optional(c.Mend.MaxDestroyPercent),
		}}
	case c.Pause != nil:
		m.What = &ymv1.Command_Pause{Pause: &ymv1.PauseFleet{Paused: c.Pause.Paused, CallBack: c.Pause.CallBack}}
	case c.Orphans != nil:
		m.What = &ymv1.Command_RemoveOrphans{RemoveOrphans: orphansMessage(c.Orphans)}
	case c.PhoneHome != nil:
		p := c.PhoneHome
		m.What = &ymv1.Command_PhoneHome{PhoneHome: &ymv1.PhoneHome{
			Node: p.Node, Incarnation: int32(p.Incarnation), TokenSha256: p.TokenSHA256, Address: p.Address,
			MachineId: p.MachineID, BootId: p.BootID, OsVersion: p.OSVersion, Obeys: p.Obeys,
		}}
	case c.ImportImage != nil:
		m.What = &ymv1.Command_ImportImage{ImportImage: &ymv1.ImportImage{
			Site: c.ImportImage.Site, Image: wantedMessage(plan.WantedImage{Image: c.ImportImage.Image}),
		}}
	case c.ForgetImage != nil:
		m.What = &ymv1.Command_ForgetImage{ForgetImage: &ymv1.ForgetImage{Site: c.ForgetImage.Site, Name: c.ForgetImage.Name}}
	case c.Release != nil:
		m.What = &ymv1.Command_ReleaseAddress{ReleaseAddress: &ymv1.ReleaseAddress{Network: c.Release.Network, Address: c.Release.Addr}}
	default:
		return fmt.Errorf("encode command %s: it asks for nothing", c.ID)
	}
	return nil
}

func orphansMessage(o *plan.RemoveOrphans) *ymv1.RemoveOrphans {
	m := &ymv1.RemoveOrphans{Site: o.Site}
	for _, v := range o.Machines {
		m.Machines = append(m.Machines, &ymv1.OrphanMachine{Id: v.ID, FleetUid: v.FleetUID, Node: v.Node, Incarnation: int32(v.Incarnation), Made: stamp(v.Made)})
	}
	return m
}

func orphans(m *ymv1.RemoveOrphans) *plan.RemoveOrphans {
	o := &plan.RemoveOrphans{Site: m.GetSite()}
	for _, v := range m.GetMachines() {
		o.Machines = append(o.Machines, plan.OrphanMachine{ID: v.GetId(), FleetUID: v.GetFleetUid(), Node: v.GetNode(), Incarnation: int(v.GetIncarnation()), Made: when(v.GetMade())})
	}
	return o
}

// DecodeCommand reads what Command wrote.
func DecodeCommand(typ, version string, body []byte) (*plan.Command, error) {
	m, err := decodeAs[*ymv1.Command](typ, version, body)
	if err != nil {
		return nil, err
	}
	c := &plan.Command{ID: m.GetId(), By: m.GetBy(), At: when(m.GetAt())}
	switch w := m.GetWhat().(type) {
	case *ymv1.Command_ApplyFleet:
		c.ApplyFleet = &plan.ApplyFleet{
			PlanBasis: w.ApplyFleet.GetPlanBasis(), Brakes: brakes(w.ApplyFleet.MaxDestroyPercent, w.ApplyFleet.MaxCreate),
			KeepTargets: w.ApplyFleet.GetKeepTargets(),
		}
		return c, undocument(w.ApplyFleet.GetDocument(), &c.ApplyFleet.Document)
	case *ymv1.Command_ApplyNetwork:
		c.ApplyNetwork = &fleet.Network{}
		return c, undocument(w.ApplyNetwork.GetDocument(), c.ApplyNetwork)
	case *ymv1.Command_ApplySite:
		c.ApplySite = &fleet.Site{}
		return c, undocument(w.ApplySite.GetDocument(), c.ApplySite)
	}
	return decodeSmall(m, c)
}

// decodeSmall reads what smallCommand wrote.
func decodeSmall(m *ymv1.Command, c *plan.Command) (*plan.Command, error) {
	switch w := m.GetWhat().(type) {
	case *ymv1.Command_DeleteFleet:
		c.DeleteFleet = &plan.DeleteFleet{Name: w.DeleteFleet.GetName()}
	case *ymv1.Command_Delete:
		c.Delete = &plan.DeleteDocument{Kind: fleet.Kind(w.Delete.GetKind()), Name: w.Delete.GetName()}
	case *ymv1.Command_Place:
		c.Place = &plan.PlaceFleet{Name: w.Place.GetName()}
	case *ymv1.Command_Scale:
		c.Scale = &plan.Scale{
			Pool: w.Scale.GetPool(), Target: int(w.Scale.GetTarget()), Basis: optionalInt(w.Scale.Basis),
			Brakes: brakes(w.Scale.MaxDestroyPercent, w.Scale.MaxCreate),
		}
	case *ymv1.Command_Retry:
		c.Retry = &plan.RetryNodes{
			Nodes: w.Retry.GetNodes(), Reason: reason(w.Retry.GetReason()),
			Altogether: int(w.Retry.GetAltogether()), MaxDestroyPercent: optionalInt(w.Retry.MaxDestroyPercent),
		}
	case *ymv1.Command_Mend:
		c.Mend = &plan.MendNodes{
			Mend: plan.Mend(w.Mend.GetMend()), Nodes: w.Mend.GetNodes(), Reason: reason(w.Mend.GetReason()),
			MaxDestroyPercent: optionalInt(w.Mend.MaxDestroyPercent),
		}
	case *ymv1.Command_RemoveOrphans:
		c.Orphans = orphans(w.RemoveOrphans)
	case *ymv1.Command_Pause:
		c.Pause = &plan.Pause{Paused: w.Pause.GetPaused(), CallBack: w.Pause.GetCallBack()}
	case *ymv1.Command_PhoneHome:
		p := w.PhoneHome
		c.PhoneHome = &plan.PhoneHome{
			Node: p.GetNode(), Incarnation: int(p.GetIncarnation()), TokenSHA256: p.GetTokenSha256(), Address: p.GetAddress(),
			MachineID: p.GetMachineId(), BootID: p.GetBootId(), OSVersion: p.GetOsVersion(), Obeys: p.GetObeys(),
		}
	default:
		if !yardCommand(m, c) {
			return nil, fmt.Errorf("command %s asks for something that this release does not know", c.ID)
		}
	}
	return c, nil
}

func brakes(destroy, create *int32) plan.Brakes {
	return plan.Brakes{MaxDestroyPercent: optionalInt(destroy), MaxCreate: optionalInt(create)}
}

// Result encodes a worker's answer.
func Result(r *plan.Result) (Message, error) {
	m := &ymv1.Result{
		Node: r.Node, Job: r.Job, Attempt: int32(r.Attempt), Incarnation: int32(r.Incarnation),
		Worker: string(r.Worker), Action: string(r.Action), By: r.By, Started: stamp(r.Started), Finished: stamp(r.Finished),
		ConfigDigest: r.ConfigDigest, ConfigSize: int32(r.ConfigSize), TokenSha256: r.TokenSHA256,
		MachineId: r.MachineID, MachineUuid: r.MachineUUID, Adopted: r.Adopted, Made: r.Made,
		HotCpu: r.Hot.CPU, HotMemory: r.Hot.Memory,
	}
	if f := r.Failure; f != nil {
		m.Failure = &ymv1.Failure{
			Kind: kinds[f.Kind], Reason: string(f.Reason), Message: f.Message, Hint: f.Hint,
			RetryAfter: span(f.RetryAfter), Log: f.Log, Taken: f.Taken,
		}
	}
	return encode(TypeResult, m, nil)
}

// DecodeResult reads what Result wrote.
func DecodeResult(typ, version string, body []byte) (*plan.Result, error) {
	m, err := decodeAs[*ymv1.Result](typ, version, body)
	if err != nil {
		return nil, err
	}
	r := &plan.Result{
		Node: m.GetNode(), Job: m.GetJob(), Attempt: int(m.GetAttempt()), Incarnation: int(m.GetIncarnation()),
		Worker: plan.Worker(m.GetWorker()), Action: plan.Action(m.GetAction()), By: m.GetBy(),
		Started: when(m.GetStarted()), Finished: when(m.GetFinished()),
		ConfigDigest: m.GetConfigDigest(), ConfigSize: int(m.GetConfigSize()), TokenSHA256: m.GetTokenSha256(),
		MachineID: m.GetMachineId(), MachineUUID: m.GetMachineUuid(), Adopted: m.GetAdopted(), Made: m.GetMade(),
		Hot: plan.Hot{CPU: m.GetHotCpu(), Memory: m.GetHotMemory()},
	}
	if f := m.GetFailure(); f != nil {
		r.Failure = &plan.Failure{
			Kind: faultKind(f.GetKind()), Reason: reason(f.GetReason()), Message: f.GetMessage(), Hint: f.GetHint(),
			RetryAfter: f.GetRetryAfter().AsDuration(), Log: f.GetLog(), Taken: f.GetTaken(),
		}
	}
	return r, nil
}

// Step encodes a planner's message to itself.
func Step(by string) (Message, error) { return encode(TypeStep, &ymv1.Step{By: by}, nil) }

// Job encodes a job.
func Job(j *plan.Job) (Message, error) {
	m := &ymv1.Job{
		Worker: string(j.Worker), Site: j.Site, Fleet: j.Fleet, Node: j.Node, Number: j.Number, FleetUid: j.FleetUID,
		Action: string(j.Action), Incarnation: int32(j.Incarnation), Attempt: int32(j.Attempt), Revision: int32(j.Revision),
		Deadline: stamp(j.Deadline), Pool: j.Pool, Ordinal: int32(j.Ordinal), Hostname: j.Hostname,
		MachineUuid: j.MachineUUID, MachineId: j.MachineID, Mac: j.MAC, ConfigDigest: j.ConfigDigest,
		PhoneHome: j.PhoneHome, Trace: j.Trace, Restart: j.Restart, Made: j.Made,
		OsChannel: j.OSChannel, OsVersion: j.OSVersion,
	}
	for _, n := range j.Networks {
		m.Networks = append(m.Networks, jobNetwork(&n))
	}
	if j.VSphere != nil {
		doc, err := document(j.VSphere)
		if err != nil {
			return Message{}, err
		}
		m.Vsphere = doc
	}
	return encode(TypeJob, m, nil)
}

// DecodeJob reads what Job wrote.
func DecodeJob(typ, version string, body []byte) (*plan.Job, error) {
	m, err := decodeAs[*ymv1.Job](typ, version, body)
	if err != nil {
		return nil, err
	}
	j := &plan.Job{
		JobRef: plan.JobRef{
			Worker: plan.Worker(m.GetWorker()), Site: m.GetSite(), Fleet: m.GetFleet(), Node: m.GetNode(), Number: m.GetNumber(),
		},
		FleetUID: m.GetFleetUid(), Action: plan.Action(m.GetAction()), Incarnation: int(m.GetIncarnation()),
		Attempt: int(m.GetAttempt()), Revision: int(m.GetRevision()), Deadline: when(m.GetDeadline()),
		Pool: m.GetPool(), Ordinal: int(m.GetOrdinal()), Hostname: m.GetHostname(), MachineUUID: m.GetMachineUuid(),
		MachineID: m.GetMachineId(), MAC: m.GetMac(), ConfigDigest: m.GetConfigDigest(), PhoneHome: m.GetPhoneHome(), Trace: m.GetTrace(), Restart: m.GetRestart(),
		OSChannel: m.GetOsChannel(), OSVersion: m.GetOsVersion(), Made: m.GetMade(),
	}
	for _, n := range m.GetNetworks() {
		j.Networks = append(j.Networks, decodeJobNetwork(n))
	}
	if len(m.GetVsphere()) > 0 {
		j.VSphere = &fleet.VSphere{}
		return j, undocument(m.GetVsphere(), j.VSphere)
	}
	return j, nil
}

func jobNetwork(n *plan.JobNetwork) *ymv1.JobNetwork {
	m := &ymv1.JobNetwork{
		Network: n.Network, Dhcp: n.DHCP, Addr: n.Addr, Prefix: int32(n.Prefix), Gateway: n.Gateway, Dns: n.DNS,
		Portgroup: n.Portgroup, Card: int32(n.Card), Mac: n.MAC, Side: n.Side,
	}
	for _, r := range n.Routes {
		m.Routes = append(m.Routes, &ymv1.Route{To: r.To, Via: r.Via})
	}
	return m
}

func decodeJobNetwork(m *ymv1.JobNetwork) plan.JobNetwork {
	n := plan.JobNetwork{
		Network: m.GetNetwork(), DHCP: m.GetDhcp(), Addr: m.GetAddr(), Prefix: int(m.GetPrefix()),
		Gateway: m.GetGateway(), DNS: m.GetDns(), Portgroup: m.GetPortgroup(),
		Card: int(m.GetCard()), MAC: m.GetMac(), Side: m.GetSide(),
	}
	for _, r := range m.GetRoutes() {
		n.Routes = append(n.Routes, fleet.Route{To: r.GetTo(), Via: r.GetVia()})
	}
	return n
}

// Observation encodes what an executor saw.
func Observation(o *plan.Observation) (Message, error) {
	return encode(TypeObservation, &ymv1.Observation{
		Node: o.Node, Incarnation: int32(o.Incarnation), Address: o.Address, Lost: o.Lost, Detail: o.Detail, At: stamp(o.At),
	}, nil)
}

// DecodeObservation reads what Observation wrote.
func DecodeObservation(typ, version string, body []byte) (*plan.Observation, error) {
	m, err := decodeAs[*ymv1.Observation](typ, version, body)
	if err != nil {
		return nil, err
	}
	return &plan.Observation{
		Node: m.GetNode(), Incarnation: int(m.GetIncarnation()), Address: m.GetAddress(), Lost: m.GetLost(), Detail: m.GetDetail(), At: when(m.GetAt()),
	}, nil
}

// Input reads the input stored at a ledger subject.
func Input(name subject.Name, typ, version string, body []byte) (plan.Input, error) {
	in := plan.Input{Fleet: name.Fleet}
	var err error
	switch name.Kind { //nolint:exhaustive // the others are no inputs
	case subject.KindCommand:
		in.Command, err = DecodeCommand(typ, version, body)
		if err == nil && in.Command.ID != name.ID {
			err = fmt.Errorf("command %q was sent as %q", in.Command.ID, name.ID)
		}
	case subject.KindResult:
		in.Result, err = resultAt(name, typ, version, body)
	case subject.KindStep:
		_, err = decodeAs[*ymv1.Step](typ, version, body)
		in.Step = &plan.Step{}
	default:
		err = fmt.Errorf("%s is no input", name.Kind)
	}
	return in, err
}

// resultAt reads a worker's answer. What a worker may answer is a matter of
// the subject that it may publish to; the body must not say otherwise.
func resultAt(name subject.Name, typ, version string, body []byte) (*plan.Result, error) {
	r, err := DecodeResult(typ, version, body)
	if err != nil {
		return nil, err
	}
	if r.Node != name.Node || string(r.Worker) != name.Worker || r.Job != name.Number || r.Attempt != name.Attempt {
		return nil, fmt.Errorf("the answer of %s to job %d of %s was sent as that of %s to job %d of %s",
			r.Worker, r.Job, r.Node, name.Worker, name.Number, name.Node)
	}
	r.Site = name.Site
	return r, nil
}

// Seat is which executor is active for a site.
type Seat struct {
	Holder  string
	Epoch   int64
	Until   time.Time
	SealKey string
}

// EncodeSeat encodes a seat.
func EncodeSeat(s Seat) (Message, error) {
	return encode(TypeSeat, &ymv1.Seat{Holder: s.Holder, Epoch: s.Epoch, Until: stamp(s.Until), SealKey: s.SealKey}, nil)
}

// DecodeSeat reads what EncodeSeat wrote.
func DecodeSeat(typ, version string, body []byte) (Seat, error) {
	m, err := decodeAs[*ymv1.Seat](typ, version, body)
	if err != nil {
		return Seat{}, err
	}
	return Seat{Holder: m.GetHolder(), Epoch: m.GetEpoch(), Until: when(m.GetUntil()), SealKey: m.GetSealKey()}, nil
}
