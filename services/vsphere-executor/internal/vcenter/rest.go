package vcenter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/vmware/govmomi/vapi/rest"
)

// restSession is the one session with vCenter's REST interface, which the
// SOAP session is no good for. It begins with the first tag.
type restSession struct {
	login *login

	mu sync.Mutex // held while logging in
	// client is nil until then, and once its session is gone.
	client *rest.Client
}

// use makes calls with the session, once more if it was gone.
func (r *restSession) use(ctx context.Context, call func(*rest.Client) error) error {
	client, err := r.get(ctx)
	if err != nil {
		return err
	}
	if err = call(client); !status(err, http.StatusUnauthorized) {
		return err
	}
	r.mu.Lock()
	if r.client == client {
		r.set(nil)
	}
	r.mu.Unlock()
	if client, err = r.get(ctx); err != nil {
		return err
	}
	return call(client)
}

func (r *restSession) get(ctx context.Context) (*rest.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		return r.client, nil
	}
	user, key, err := r.login.read()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := rest.NewClient(r.login.vim)
	client.CheckRedirect = nowhereElse
	err = client.Login(ctx, user)
	r.login.metrics.login(err)
	if err == nil {
		r.set(client)
		return client, nil
	}
	refused := status(err, http.StatusUnauthorized)
	err = fmt.Errorf("log in to the REST interface of %s as %s: %w", r.login.soap.URL().Host, user.Username(), err)
	if refused {
		return nil, r.login.refused.note(key, err)
	}
	return nil, err
}

// set changes the client to or from nil; the caller holds the lock.
func (r *restSession) set(client *rest.Client) {
	r.client = client
	open := r.login.metrics.sessions.WithLabelValues(r.login.site, "rest")
	if client == nil {
		open.Dec()
		return
	}
	open.Inc()
}

// close logs out.
func (r *restSession) close(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutWithin)
	defer cancel()
	err := r.client.Logout(ctx)
	r.set(nil)
	if err != nil && !status(err, http.StatusUnauthorized) {
		return fmt.Errorf("log out of the REST interface: %w", err)
	}
	return nil
}

// status reports whether err is such an answer of the REST interface; its
// type cannot be named here.
func status(err error, code int) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if rest.IsStatusError(err, code) {
			return true
		}
	}
	return false
}
