package vcenter

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/wire"
)

const (
	// bootingFor is how long a machine without an address is looked at
	// often.
	bootingFor = 15 * time.Minute
	// lostAfter is how many sweeps in a row must miss a machine.
	lostAfter = 2
	// distrustFor is how long a sweep is not believed that misses more than
	// half of the machines at once: a lost privilege or an offline folder
	// looks just like that.
	distrustFor = time.Minute
)

// sightings is what was seen of the yard's machines, by owner key.
type sightings struct {
	mu    sync.Mutex
	known map[string]*sighting
	// dismissed are those that we remove, until they are gone: a sweep may
	// still see them.
	dismissed map[string]bool
	// strangers are the VMs of others by their guests' address.
	strangers map[string]stranger
	// conflicts says which addresses a machine of ours and one of others
	// have.
	conflicts string
	// distrust is since when sweeps miss too much; zero when they do not.
	distrust time.Time
}

// sighting is one machine of ours.
type sighting struct {
	owner   executor.Owner
	fleet   string
	ref     ref
	address string
	// word is what its guest left in guestinfo, as it stands there.
	word   string
	since  time.Time
	missed int
}

func newSightings() *sightings {
	return &sightings{known: map[string]*sighting{}, dismissed: map[string]bool{}}
}

// expect has a machine that was just made looked at often.
func (s *sightings) expect(t *executor.Task, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := t.Owner.String()
	delete(s.dismissed, key)
	if k := s.known[key]; k == nil || k.ref.Value != id {
		s.known[key] = &sighting{owner: t.Owner, fleet: t.Job.Fleet, ref: ref{Type: "VirtualMachine", Value: id}, since: time.Now()}
	}
}

// restarted has a machine's address reported anew once its guest is back.
func (s *sightings) restarted(o executor.Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.known[o.String()]; k != nil {
		k.address, k.since = "", time.Now()
	}
}

// retell has every address and word reported anew.
func (s *sightings) retell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.known {
		k.address, k.word = "", ""
	}
}

// dismiss forgets a machine.
func (s *sightings) dismiss(o executor.Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, o.String())
	s.dismissed[o.String()] = true
}

// booting returns the machines that have no address yet.
func (s *sightings) booting() []ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refs []ref
	for _, k := range s.known {
		if k.address == "" && time.Since(k.since) < bootingFor {
			refs = append(refs, k.ref)
		}
	}
	return refs
}

// addresses takes in the guest addresses of some machines and returns what
// changed.
func (s *sightings) addresses(seen map[ref]string) []executor.Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	var news []executor.Sighting
	for _, k := range s.known {
		if address, ok := seen[k.ref]; ok && address != k.address {
			k.address = address
			news = append(news, k.tell())
		}
	}
	return news
}

func (k *sighting) tell() executor.Sighting {
	return executor.Sighting{Fleet: k.fleet, Node: k.owner.Node, Incarnation: k.owner.Incarnation, Address: k.address}
}

// entry is one VM in a sweep.
type entry struct {
	name    string
	owner   string
	address string
	word    string
	// template is what is known of it if it is one.
	template *draft
}

// templatesOf picks the templates out of a sweep.
func templatesOf(seen map[ref]entry) map[string]wire.ImageState {
	out := map[string]wire.ImageState{}
	for _, e := range seen {
		if e.template != nil {
			out[e.name] = wire.ImageState{Name: e.name, State: wire.ImageReady, SHA256: e.template.digest, Fingerprint: e.template.signer}
		}
	}
	return out
}

// sweep takes in a look at the whole inventory and returns the changed
// addresses and the owner keys of those that may be lost.
func (s *sightings) sweep(seen map[ref]entry, yard string) (news []executor.Sighting, missing []*sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strangers = strangersOf(seen, yard)
	there := map[string]bool{}
	for r, e := range seen {
		there[e.owner] = true
		s.follow(r, e, seen)
		s.meet(r, e, yard)
	}
	maps.DeleteFunc(s.dismissed, func(owner string, _ bool) bool { return !there[owner] })
	var absent []*sighting
	for _, k := range s.known {
		e, ok := seen[k.ref]
		switch {
		case !ok:
			absent = append(absent, k)
		case e.owner == "" && e.address == "":
			// Inaccessible: vCenter knows it but cannot read it.
		default:
			k.missed = 0
			news = append(news, k.update(e)...)
		}
	}
	s.conflicts = s.contested()
	if s.distrusted(len(absent)) {
		return news, nil
	}
	for _, k := range absent {
		if k.missed++; k.missed >= lostAfter {
			missing = append(missing, k)
		}
	}
	return news, missing
}

// update takes in what a sweep saw of a machine and returns what is new.
func (k *sighting) update(e entry) (news []executor.Sighting) {
	if e.address != k.address {
		k.address = e.address
		news = append(news, k.tell())
	}
	if e.word == k.word {
		return news
	}
	k.word = e.word
	if said, err := readWord(e.word); err == nil {
		told := k.tell()
		told.Said = &said
		news = append(news, told)
	}
	return news
}

// readWord reads what a guest left in guestinfo. It is anybody's word on that
// machine, and nothing but a report is read out of it.
func readWord(word string) (guest.Report, error) {
	if len(word) > base64.StdEncoding.EncodedLen(guest.MaxBytes) {
		return guest.Report{}, guest.ErrForm
	}
	text, err := base64.StdEncoding.DecodeString(word)
	if err != nil {
		return guest.Report{}, fmt.Errorf("%w: %w", guest.ErrForm, err)
	}
	return guest.Parse(text)
}

// follow takes up the new reference of a machine that was made again for the
// same incarnation, or registered anew.
func (s *sightings) follow(r ref, e entry, seen map[ref]entry) {
	k := s.known[e.owner]
	if k == nil || k.ref == r {
		return
	}
	if _, there := seen[k.ref]; !there {
		k.ref, k.address, k.word = r, "", ""
	}
}

// distrusted reports whether a sweep misses too much to be believed yet; the
// caller holds the lock.
func (s *sightings) distrusted(absent int) bool {
	if absent < 2 || 2*absent <= len(s.known) {
		s.distrust = time.Time{}
		return false
	}
	if s.distrust.IsZero() {
		s.distrust = time.Now()
	}
	return time.Since(s.distrust) < distrustFor
}

// meet learns a machine of ours that was made before this process began. Its
// fleet's name is the VM's name without the node's key.
func (s *sightings) meet(r ref, e entry, yard string) {
	if e.owner == "" || s.known[e.owner] != nil || s.dismissed[e.owner] {
		return
	}
	o, err := executor.ParseOwner(e.owner)
	if err != nil || o.Yard != yard {
		return
	}
	fleet, ok := strings.CutSuffix(e.name, "-"+o.Node)
	if !ok {
		return // renamed: nobody can be told
	}
	s.known[e.owner] = &sighting{owner: o, fleet: fleet, ref: r, since: time.Now()}
}

// lost forgets a machine and returns the news of it.
func (s *sightings) lost(k *sighting) executor.Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, k.owner.String())
	news := k.tell()
	news.Address, news.Lost = "", true
	news.Detail = fmt.Sprintf("VM %s-%s (%s) is no longer in vCenter and we did not remove it", k.fleet, k.owner.Node, k.ref.Value)
	return news
}

// glance reads the guest addresses of a few machines.
func (c *connection) glance(ctx context.Context, refs []ref) (map[ref]string, error) {
	objects, err := retrieve(ctx, c.vim, refs, pathAddress)
	if err != nil {
		return nil, fmt.Errorf("read guest addresses: %w", err)
	}
	seen := make(map[ref]string, len(objects))
	for _, o := range objects {
		seen[o.Obj] = address(o)
	}
	return seen, nil
}

// sweep reads a few properties of every VM, page by page.
func (c *connection) sweep(ctx context.Context) (map[ref]entry, error) {
	objects, err := below(ctx, c.vim, c.vim.ServiceContent.RootFolder, []string{"VirtualMachine"}, "name", pathAddress, "config.template",
		extraPath(keyOwner), extraPath(keyReport), extraPath(keyImageDigest), extraPath(keyImageSigner))
	seen := make(map[ref]entry, len(objects))
	for _, o := range objects {
		e := entry{name: value[string](o, "name"), owner: extraValue(o, keyOwner), address: address(o), word: extraValue(o, keyReport)}
		if value[bool](o, "config.template") {
			e.template = draftOf(o)
		}
		seen[o.Obj] = e
	}
	return seen, err
}

// pathAddress is where vCenter tells a guest's address.
const pathAddress = "guest.ipAddress"

func address(o types.ObjectContent) string {
	if s := value[string](o, pathAddress); usable(s) {
		return s
	}
	return ""
}

// usable leaves out what is no address that a node could be reached at.
func usable(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.IsGlobalUnicast()
}
