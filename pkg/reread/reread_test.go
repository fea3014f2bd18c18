package reread

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errEmpty = errors.New("empty")

func word(contents [][]byte) (string, error) {
	all := string(bytes.Join(contents, []byte("+")))
	if all == "" {
		return "", errEmpty
	}
	return all, nil
}

func put(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestValueFollowsItsFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "f")
		put(t, file, "one")
		var log bytes.Buffer
		v, err := Of(slog.New(slog.NewTextHandler(&log, nil)), word, file)
		if err != nil {
			t.Fatal(err)
		}
		want := func(what, value string) {
			t.Helper()
			time.Sleep(2 * Every)
			if got := v.Get(t.Context()); got != value {
				t.Errorf("%s: %q; want %q", what, got, value)
			}
		}
		put(t, file, "two")
		if got := v.Get(t.Context()); got != "one" {
			t.Errorf("within %v: %q; want no reading", Every, got)
		}
		want("changed", "two")
		put(t, file, "")
		want("refused", "two")
		want("refused", "two")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		want("gone", "two")
		want("gone", "two")
		if n := strings.Count(log.String(), "level=WARN"); n != 2 {
			t.Errorf("%d warnings; want one per cause:\n%s", n, log.String())
		}
		put(t, file, "three")
		want("back", "three")
	})
}

func TestValueFollowsLinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// The way that Kubernetes mounts a secret.
		dir := t.TempDir()
		for _, version := range []string{"v1", "v2"} {
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, version, "a"), version)
			put(t, filepath.Join(dir, version, "b"), "same")
		}
		link := func(to string) {
			t.Helper()
			if err := os.Symlink(to, filepath.Join(dir, "next")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")); err != nil {
				t.Fatal(err)
			}
		}
		link("v1")
		v, err := Of(slog.New(slog.DiscardHandler), word, filepath.Join(dir, "data", "a"), filepath.Join(dir, "data", "b"))
		if err != nil {
			t.Fatal(err)
		}
		link("v2")
		time.Sleep(2 * Every)
		if got := v.Get(t.Context()); got != "v2+same" {
			t.Errorf("after the link moved: %q; want v2+same", got)
		}
	})
}

func TestFirstReadingMustWork(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	if _, err := Of(slog.New(slog.DiscardHandler), word, file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v; want it said", err)
	}
	put(t, file, "")
	if _, err := Of(slog.New(slog.DiscardHandler), word, file); !errors.Is(err, errEmpty) {
		t.Errorf("empty file: %v; want it said", err)
	}
}
