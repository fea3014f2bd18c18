package wire

import (
	"yardmaster.dev/pkg/guest"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// GuestReport is what a node's guest said last.
type GuestReport struct {
	// Node is the node's key within its fleet.
	Node        string
	Incarnation int
	guest.Report
}

// EncodeGuestReport encodes a guest's report.
func EncodeGuestReport(r *GuestReport) (Message, error) {
	m := &ymv1.GuestReport{
		Node: r.Node, Incarnation: int32(r.Incarnation), BootId: r.BootID, MachineId: r.MachineID,
		OsVersion: r.OSVersion, State: r.State, Up: span(r.Up),
	}
	for _, s := range r.Stages {
		m.Stages = append(m.Stages, &ymv1.GuestStage{Name: s.Name, After: span(s.After)})
	}
	for _, f := range r.Failed {
		m.Failed = append(m.Failed, &ymv1.GuestFailed{Unit: f.Unit, Result: f.Result, Log: f.Log})
	}
	return encode(TypeGuest, m, nil)
}

// DecodeGuestReport reads what EncodeGuestReport wrote.
func DecodeGuestReport(typ, version string, body []byte) (*GuestReport, error) {
	m, err := decodeAs[*ymv1.GuestReport](typ, version, body)
	if err != nil {
		return nil, err
	}
	r := &GuestReport{Node: m.GetNode(), Incarnation: int(m.GetIncarnation()), Report: guest.Report{
		BootID: m.GetBootId(), MachineID: m.GetMachineId(), OSVersion: m.GetOsVersion(),
		State: m.GetState(), Up: m.GetUp().AsDuration(),
	}}
	for _, s := range m.GetStages() {
		r.Stages = append(r.Stages, guest.Stage{Name: s.GetName(), After: s.GetAfter().AsDuration()})
	}
	for _, f := range m.GetFailed() {
		r.Failed = append(r.Failed, guest.Failed{Unit: f.GetUnit(), Result: f.GetResult(), Log: f.GetLog()})
	}
	return r, nil
}
