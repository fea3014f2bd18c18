package vcenter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/service"
)

// credentialsEvery is how often the Site's username, password and CA file
// are read while a session is in use. A change counts once two readings agree: two
// files are not written at once.
const credentialsEvery = 5 * time.Second

// rotation is what is known of changed credentials.
type rotation struct {
	next time.Time
	// seen is the login of the last reading.
	seen [sha256.Size]byte
	// trouble is why the session in use is not the one of the Site's
	// credentials; it was told once.
	trouble string
}

// Trouble is what a person should look at although work goes on: changed
// credentials that cannot be used, an address that two machines have.
func (b *Backend) Trouble() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return cmp.Or(b.rotation.trouble, b.sightings.conflict())
}

// rotate takes up changed credentials while a session is in use: it logs in
// with them beside that session and, once that worked, begins nothing more
// with the old one, which ends with its last user. Credentials that vCenter
// refuses change nothing but [Backend.Trouble]. Call it often; it is due from
// time to time.
func (b *Backend) rotate(ctx context.Context) {
	old, site, access := b.dueForRotation()
	if old == nil {
		return
	}
	_, key, err := old.login.read()
	if err == nil && key == old.login.inUse() {
		b.troubled(ctx, nil)
		return
	}
	if err == nil && !b.agreed(key) {
		return
	}
	var c *connection
	if err == nil {
		c, err = connect(ctx, site, access)
	}
	if err != nil {
		b.troubled(ctx, err)
		return
	}
	b.swap(ctx, old, c)
}

// dueForRotation returns the session in use if its credentials are to be
// looked at.
func (b *Backend) dueForRotation() (*lease, *fleet.SiteVSphere, access) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.current == nil {
		b.rotation = rotation{} // whoever connects next reads them
	}
	if b.current == nil || now.Before(b.rotation.next) {
		return nil, nil, access{}
	}
	b.rotation.next = now.Add(b.credentialsEvery)
	return b.current, b.site, b.access(b.site)
}

// agreed reports whether the last reading was the same.
func (b *Backend) agreed(key [sha256.Size]byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	agreed := b.rotation.seen == key
	b.rotation.seen = key
	return agreed
}

// swap puts a connection in the place of old, if that is still in use.
func (b *Backend) swap(ctx context.Context, old *lease, c *connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fresh := &lease{connection: c}
	if b.current != old {
		fresh.retired = true
		b.closeIdle(ctx, fresh)
		return
	}
	b.retire(ctx)
	b.current, b.rotation.trouble = fresh, ""
	b.options.Log.InfoContext(ctx, "changed credentials taken up", service.KeySite, b.options.Site)
}

// troubled notes why changed credentials are not in use.
func (b *Backend) troubled(ctx context.Context, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.rotation.trouble = ""
		return
	}
	if ctx.Err() != nil || b.rotation.trouble != "" {
		return
	}
	b.rotation.trouble = "the Site's credentials changed and cannot be used, the session of the old ones goes on: " + err.Error()
	b.options.Log.WarnContext(ctx, "changed credentials cannot be used; the session of the old ones goes on",
		service.KeySite, b.options.Site, service.KeyReason, string(fault.Of(err).Reason), service.KeyErr, err.Error())
}
