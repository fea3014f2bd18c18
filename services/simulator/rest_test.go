package simulator

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/vmware/govmomi/vapi/rest"
)

func TestRESTLogin(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	client := rest.NewClient(r.client.Client)
	if err := client.Login(t.Context(), url.UserPassword(DefaultUser, "wrong")); !rest.IsStatusError(err, http.StatusUnauthorized) {
		t.Errorf("Login with a wrong password: %v; want 401", err)
	}
	if err := client.Login(t.Context(), url.UserPassword(DefaultUser, DefaultSecret)); err != nil {
		t.Errorf("Login: %v", err)
	}
}
