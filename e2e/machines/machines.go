// Package machines is a world for the ledger's kill tests: a machine is a
// file that only one creator can make, as a VM's name is in vCenter. The
// fake workers make and remove them, the test plays the guests that phone
// home and counts what is left.
package machines

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

// Machine is what a machine's file holds.
type Machine struct {
	Fleet       string `json:"fleet"`
	Node        string `json:"node"` // key
	UUID        string `json:"uuid"`
	Incarnation int    `json:"incarnation"`
	Token       string `json:"token"` // its SHA-256
	Address     string `json:"address"`
}

// Token stands for the hash of the phone-home token; both fake workers can
// make it without talking to each other.
func Token(fleetUID, node string, incarnation int) string {
	return digest(fleetUID, node, fmt.Sprint(incarnation))
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "/")))
	return hex.EncodeToString(sum[:])
}

// Attempt is a job with the wish that it fails.
type Attempt struct {
	*plan.Job
	Fail bool
}

// Trouble lets a share of first attempts fail. Which is a matter of the
// job's name, so that a repeated delivery fares alike.
func Trouble(job *plan.Job, share float64) Attempt {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%s/%d/%s", job.Fleet, job.Node, job.Incarnation, job.Action)
	return Attempt{Job: job, Fail: job.Attempt == 1 && float64(h.Sum32()%1000) < share*1000}
}

// result is the common part of an answer.
func (a Attempt) result() *plan.Result {
	r := &plan.Result{
		Node: a.Node, Job: a.Number, Attempt: a.Attempt, Incarnation: a.Incarnation,
		Worker: a.Worker, Action: a.Action,
	}
	if a.Fail {
		r.Failure = &plan.Failure{Kind: fault.Transient, Reason: fault.MachineBusy, Message: "another operation holds the VM", Hint: "wait"}
	}
	return r
}

// Render answers a renderer's job.
func Render(a Attempt) *plan.Result {
	r := a.result()
	if r.Failure == nil && a.Action == plan.ActionRender {
		r.ConfigDigest = digest(a.FleetUID, a.Node, fmt.Sprint(a.Revision))
		r.ConfigSize = 1234
		r.TokenSHA256 = Token(a.FleetUID, a.Node, a.Incarnation)
	}
	return r
}

// Folder holds the machines.
type Folder string

// Do answers an executor's job.
func (f Folder) Do(a Attempt) *plan.Result {
	r := a.result()
	if r.Failure != nil {
		return r
	}
	var err error
	switch a.Action { //nolint:exhaustive // the others are the renderer's
	case plan.ActionCreate:
		r.MachineID, r.MachineUUID = "file-"+a.MachineUUID, a.MachineUUID
		r.Adopted, err = f.create(a.Job)
	case plan.ActionDelete:
		err = f.remove(a.Job)
	case plan.ActionBlank:
	default:
		err = fmt.Errorf("no executor does %q", a.Action)
	}
	if err != nil {
		r.Failure = &plan.Failure{Kind: fault.Permanent, Reason: fault.NameTaken, Message: err.Error()}
	}
	return r
}

func (f Folder) path(job *plan.Job) string { return filepath.Join(string(f), job.Fleet+"-"+job.Node) }

// create makes the machine's file whole or not at all: a link to a finished
// file fails when the name is taken.
func (f Folder) create(job *plan.Job) (adopted bool, err error) {
	m := Machine{
		Fleet: job.Fleet, Node: job.Node, UUID: job.MachineUUID, Incarnation: job.Incarnation,
		Token: Token(job.FleetUID, job.Node, job.Incarnation),
	}
	if len(job.Networks) > 0 {
		m.Address = job.Networks[0].Addr
	}
	content, err := json.Marshal(m)
	if err != nil {
		return false, err
	}
	tmp, err := os.CreateTemp(string(f), ".new-")
	if err != nil {
		return false, err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // hidden left-overs are not counted
	if _, err := tmp.Write(content); err != nil {
		return false, err
	}
	if err := tmp.Close(); err != nil {
		return false, err
	}
	err = os.Link(tmp.Name(), f.path(job))
	if !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	there, err := read(f.path(job))
	if err != nil {
		return false, err
	}
	if there.UUID != job.MachineUUID {
		return false, fmt.Errorf("the name %s-%s is taken by %s, incarnation %d; wanted %s, incarnation %d",
			job.Fleet, job.Node, there.UUID, there.Incarnation, job.MachineUUID, job.Incarnation)
	}
	return true, nil
}

// remove deletes the machine if it is the one that was meant.
func (f Folder) remove(job *plan.Job) error {
	there, err := read(f.path(job))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if there.UUID != job.MachineUUID {
		return fmt.Errorf("%s-%s is %s; wanted to delete %s", job.Fleet, job.Node, there.UUID, job.MachineUUID)
	}
	if err := os.Remove(f.path(job)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func read(path string) (Machine, error) {
	var m Machine
	b, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

// All lists the machines by node name.
func (f Folder) All() (map[string]Machine, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	all := map[string]Machine{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		m, err := read(filepath.Join(string(f), e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			return nil, err
		}
		all[e.Name()] = m
	}
	return all, nil
}

// Since reads the machines that are newer than seen, and notes them there.
func (f Folder) Since(seen map[string]time.Time) (map[string]Machine, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	fresh := map[string]Machine{}
	for _, e := range entries {
		info, err := e.Info()
		if strings.HasPrefix(e.Name(), ".") || err != nil || seen[e.Name()].Equal(info.ModTime()) {
			continue
		}
		m, err := read(filepath.Join(string(f), e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			return nil, err
		}
		seen[e.Name()] = info.ModTime()
		fresh[e.Name()] = m
	}
	return fresh, nil
}
