package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Canonical returns the document's canonical JSON: fields in the order of
// their types, maps sorted, nothing that is not set. Equal documents have
// equal bytes, however they were written.
func Canonical(doc Document) ([]byte, error) {
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("canonical form of %s %s: %w", doc.DocumentKind(), doc.DocumentName(), err)
	}
	return b, nil
}

// machine is everything of a fleet that a pool's machines are made from. What
// is not in it (replicas, readiness, budgets, brakes) can change without
// replacing a machine.
type machine struct {
	OS       OS                `json:"os,omitzero"`
	Config   []Layer           `json:"config,omitempty"`
	Vars     map[string]string `json:"vars,omitempty"`
	Secrets  map[string]Secret `json:"secrets,omitempty"`
	Hostname string            `json:"hostname,omitempty"`
	Networks []PoolNetwork     `json:"networks,omitempty"`
	Own      []Layer           `json:"own,omitempty"`
	OwnVars  map[string]string `json:"ownVars,omitempty"`
	VSphere  *VSphere          `json:"vsphere,omitempty"`
}

// PoolHash is a short hash of all that the pool's machines are made from,
// defaults filled in. Nodes with another hash are outdated. It is empty if
// there is no such pool.
func (f *Fleet) PoolHash(pool string) string {
	p, ok := f.Pool(pool)
	if !ok {
		return ""
	}
	return f.machine(p).hash()
}

// FrameHash is PoolHash without what can be changed on a machine that exists:
// its size and its marks. It is empty if there is no such pool.
func (f *Fleet) FrameHash(pool string) string {
	p, ok := f.Pool(pool)
	if !ok {
		return ""
	}
	m := f.machine(p)
	if m.VSphere != nil {
		m.VSphere.CPUs, m.VSphere.Memory, m.VSphere.Disk = 0, "", ""
		m.VSphere.Annotation, m.VSphere.Tags, m.VSphere.CustomAttributes = "", nil, nil
	}
	return m.hash()
}

// MarksHash hashes what people find written on the pool's machines: the note,
// tags and custom attributes. It is empty if there are none.
func (f *Fleet) MarksHash(pool string) string {
	p, ok := f.Pool(pool)
	if !ok || p.VSphere == nil {
		return ""
	}
	v := p.VSphere
	if v.Annotation == "" && len(v.Tags)+len(v.CustomAttributes) == 0 {
		return ""
	}
	return machine{VSphere: &VSphere{Annotation: v.Annotation, Tags: v.Tags, CustomAttributes: v.CustomAttributes}}.hash()
}

// ShellHash is PoolHash without what Ignition makes of a machine: its config.
// It is empty if there is no such pool.
func (f *Fleet) ShellHash(pool string) string {
	p, ok := f.Pool(pool)
	if !ok {
		return ""
	}
	m := f.machine(p)
	return machine{OS: OS{Channel: m.OS.Channel, Version: m.OS.Version}, Networks: m.Networks, VSphere: m.VSphere}.hash()
}

// HasRole reports whether a pool's config has a role among its layers.
func (f *Fleet) HasRole(pool, role string) bool {
	p, ok := f.Pool(pool)
	is := func(l Layer) bool { return l.Role == role }
	return ok && (slices.ContainsFunc(f.Spec.Config, is) || slices.ContainsFunc(p.Config, is))
}

// machine is a copy, as far as its vsphere section goes.
func (f *Fleet) machine(p *Pool) machine {
	filled := p.withDefaults(f)
	if filled.VSphere != nil {
		filled.VSphere.AntiAffinity = "" // it says where VMs run, not what they are
	}
	s := f.Spec
	return machine{
		OS: s.OS, Config: s.Config, Vars: s.Vars, Secrets: s.Secrets,
		Hostname: filled.Hostname, Networks: filled.Networks, Own: filled.Config, OwnVars: filled.Vars,
		VSphere: filled.VSphere,
	}
}

func (m machine) hash() string {
	b, err := json.Marshal(m)
	if err != nil { // strings, numbers and maps of strings always marshal
		panic(fmt.Sprintf("hash of a pool's machine: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
