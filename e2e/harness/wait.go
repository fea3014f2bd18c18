package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// Wait calls check until it returns nil, and fails the test with its last
// word when that takes longer than within.
func Wait(tb testing.TB, what string, within time.Duration, check func() error) {
	tb.Helper()
	if err := Poll(within, check); err != nil {
		tb.Fatalf("%s: not within %s: %v", what, within, err)
	}
}

// Poll is Wait for those who go on without. Where the vCenter is a real one,
// all takes longer.
func Poll(within time.Duration, check func() error) error {
	if t, err := target(); err == nil {
		within *= time.Duration(t.Patience)
	}
	end := time.Now().Add(within)
	for {
		err := check()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Healthy returns a check that GETs url and wants status 200.
func Healthy(url string) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) //nolint:forbidigo // a probe by itself
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close() //nolint:errcheck // only read
		body, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s: %s", url, res.Status, body)
		}
		return nil
	}
}
