package vsphereexecutor

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// The gateway asks through the real bus, with its own user's rights, and the
// answer tells of each part without a secret in it.
func TestCheckup(t *testing.T) {
	t.Parallel()
	w := newBenchWorld(t)
	t.Cleanup(w.close)
	s := newStage(t)
	s.site(w.server.URL.Scheme + "://" + w.server.URL.Host + "/sdk")
	s.run("first")
	gateway := s.connect(subject.UserGateway)
	home := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(home.Close)
	m, err := wire.Job(&plan.Job{
		JobRef: plan.JobRef{Worker: plan.WorkerVSphere, Site: testSite, Fleet: "web", Node: "edge-0"}, Pool: "edge",
		VSphere: &fleet.VSphere{Site: testSite, Source: fleet.VSphereSource{Template: benchTemplate}},
	})
	if err != nil {
		t.Fatal(err)
	}
	found := &v1.CheckupAnswer{}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // until the seat is taken
		err := gateway.Ask(t.Context(), testSite, subject.AskCheckup, &v1.Checkup{Jobs: [][]byte{m.Body}, PhoneHome: home.URL}, found)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	for _, what := range []string{"executor's bus", "seal key", "phone-home", "credentials", "login", "clock", "template " + benchTemplate, "rights"} {
		if !slices.ContainsFunc(found.GetChecks(), func(c *v1.Check) bool { return c.GetWhat() == what && c.GetLevel() == "ok" }) {
			t.Errorf("%s is not ok in %v", what, found.GetChecks())
		}
	}
	for _, c := range found.GetChecks() {
		// The file of the password is called password.
		if strings.Contains(strings.ReplaceAll(c.GetWords(), s.dir+"/password", ""), "password\n") {
			t.Errorf("check %v holds the password", c)
		}
	}
}

func TestCheckupOfTheWayHome(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for base, want := range map[string]string{"": "ok", gone.URL: "warn", "http://%": "warn"} {
		if c := reachable(context.Background(), base); c.GetLevel() != want || c.GetWords() == "" {
			t.Errorf("reachable(%q) = %v; want %s", base, c, want)
		}
	}
	e := &asked{madeUp: true}
	if c := e.sealing(); c.GetLevel() != "warn" || c.GetHint() == "" {
		t.Errorf("a seal key that was made up: %v; want a warning and what to do", c)
	}
}
