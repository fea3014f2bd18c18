package yardmaster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/specfile"
	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
	"yardmaster.dev/services/simulator"
	"yardmaster.dev/services/yardctl/progress"
)

// The simulated vCenter's login is no secret, but a Site only ever refers to
// secrets, so that the executor reads it from files like any other.
func (y yard) simulatedSite() ([]byte, error) {
	d := y.options.files()
	user, password := d.secret("vcenter-user"), d.secret("vcenter-password")
	for name, content := range map[string]string{user: simulator.DefaultUser, password: simulator.DefaultSecret} {
		if err := os.WriteFile(name, []byte(content+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("write the simulated vCenter's login: %w", err)
		}
	}
	thumbprint, err := os.ReadFile(simulator.Config{Dir: d.simulator()}.ThumbprintFile())
	if err != nil {
		return nil, fmt.Errorf("read the simulated vCenter's certificate: %w", err)
	}
	var images *fleet.SiteImages
	if y.options.Images.KeyFile != "" {
		given := y.options.Images
		given.KeyFile = absolute(given.KeyFile)
		images = &given
	}
	doc, err := specfile.Marshal(&fleet.Site{
		APIVersion: fleet.APIVersion, Kind: fleet.KindSite, Metadata: fleet.Metadata{Name: site},
		Spec: fleet.SiteSpec{
			PhoneHome: y.gatewayURL(),
			VSphere: &fleet.SiteVSphere{
				URL:      "https://" + y.options.VCenter + "/sdk",
				Username: fleet.Secret{File: user}, Password: fleet.Secret{File: password},
				Thumbprint: strings.TrimSpace(string(thumbprint)), Datacenter: y.options.datacenter(), Images: images,
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("describe the simulated site: %w", err)
	}
	return doc, nil
}

// applySite tells the planner of the simulated site, on the first start and
// after one that moved it: what people changed on their Site in between stays.
func (y yard) applySite(ctx context.Context, client yardmasterv1connect.YardServiceClient, doc []byte) error {
	file := y.options.files().site()
	if told, err := os.ReadFile(file); err == nil && bytes.Equal(told, doc) {
		return nil
	}
	if err := apply(ctx, client, file, doc); err != nil {
		return err
	}
	if err := os.WriteFile(file, doc, 0o600); err != nil {
		return fmt.Errorf("note the simulated site: %w", err)
	}
	return nil
}

// welcome waits for the gateway, shows where things are, and brings a new
// yard its first fleet.
func (y yard) welcome(ctx context.Context, siteDoc []byte) error {
	if err := waitHealthy(ctx, y.gatewayURL()+"/readyz"); err != nil {
		return fmt.Errorf("the gateway is not ready: %w", err)
	}
	o := y.options
	y.screen.up(o)
	client := yardmasterv1connect.NewYardServiceClient(&http.Client{Transport: bearer(y.token)}, y.gatewayURL())
	if err := y.applySite(ctx, client, siteDoc); err != nil {
		return err
	}
	if o.Example != "" && !exists(o.files().applied()) {
		if err := y.first(ctx, client); err != nil {
			return err
		}
	}
	y.screen.next()
	<-ctx.Done()
	return nil
}

// first applies the example to a new yard and shows its nodes' way. It does
// so once: what people made of their yard since then is theirs.
func (y yard) first(ctx context.Context, client yardmasterv1connect.YardServiceClient) error {
	o := y.options
	content, err := os.ReadFile(o.Example)
	if errors.Is(err, fs.ErrNotExist) {
		y.screen.say("%s is not here, so nothing was applied; run yardmaster up in the project's folder, or name a file with --example", o.Example)
		return nil
	}
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	y.screen.say("applying %s on vSphere (simulated)\n", o.Example)
	if err := apply(ctx, client, o.Example, content); err != nil {
		return err
	}
	if err := os.WriteFile(o.files().applied(), nil, 0o600); err != nil {
		return fmt.Errorf("note that the example was applied: %w", err)
	}
	err = progress.Show(ctx, client, y.screen.out, progress.Options{NoColour: os.Getenv("NO_COLOR")}) //nolint:forbidigo // the screen's own convention
	if errors.Is(err, progress.ErrFailed) {
		y.screen.say("%v", err) // the yard goes on: that is what it is for
		return nil
	}
	return err
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

var errRefused = errors.New("refused")

// apply submits a file's content and waits for the planner's word on it.
func apply(ctx context.Context, client yardmasterv1connect.YardServiceClient, file string, content []byte) error {
	answer, err := client.Apply(ctx, connect.NewRequest(&yardmasterv1.ApplyRequest{
		Sources: []*yardmasterv1.Source{{Filename: file, Content: content}},
	}))
	if err != nil {
		return fmt.Errorf("apply %s: %w", file, err)
	}
	for _, p := range answer.Msg.GetProblems() {
		return fmt.Errorf("apply %s:%d:%d %s: %s: %w", p.GetFile(), p.GetLine(), p.GetColumn(), p.GetPath(), p.GetMessage(), errRefused)
	}
	for _, r := range answer.Msg.GetResults() {
		if !r.GetAccepted() && !r.GetPending() {
			return fmt.Errorf("apply %s: %s %s: %s: %w", file, r.GetKind(), r.GetName(), strings.Join(r.GetRefusal(), "; "), errRefused)
		}
	}
	return nil
}

// bearer adds the yard's own token to every request, streams included.
type bearer string

// RoundTrip is for http.Client.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

func waitHealthy(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := healthy(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(readyPoll):
		}
	}
}
