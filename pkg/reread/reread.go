// Package reread keeps up with files that change while a program runs: keys,
// tokens, certificates. Content is compared, not times: a mounted Kubernetes
// secret changes by a link that points elsewhere, and a file that was only
// touched is no news.
package reread

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// Every is how old a reading may be.
const Every = 2 * time.Second

// Value is what was made of some files.
type Value[T any] struct {
	files []string
	from  func(contents [][]byte) (T, error)
	log   *slog.Logger

	mu   sync.Mutex
	held T
	// sum is of the contents that held was made of, tried of the last ones.
	sum, tried [sha256.Size]byte
	trouble    string
	next       time.Time
}

// Of reads the files and makes a value of their contents.
func Of[T any](log *slog.Logger, from func(contents [][]byte) (T, error), files ...string) (*Value[T], error) {
	v := &Value[T]{files: files, from: from, log: log}
	contents, sum, err := v.read()
	if err != nil {
		return nil, err
	}
	if v.held, err = from(contents); err != nil {
		return nil, err
	}
	v.sum, v.tried, v.next = sum, sum, time.Now().Add(Every)
	return v, nil
}

func (v *Value[T]) read() (contents [][]byte, sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	for _, name := range v.files {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, sum, err
		}
		one := sha256.Sum256(content)
		hash.Write(one[:])
		contents = append(contents, content)
	}
	return contents, [sha256.Size]byte(hash.Sum(nil)), nil
}

// Get returns the value, made anew if the files changed. While they cannot
// be read or understood it is the last good one, and the log says why, once.
func (v *Value[T]) Get(ctx context.Context) T {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := time.Now(); now.After(v.next) {
		v.next = now.Add(Every)
		v.refresh(ctx)
	}
	return v.held
}

func (v *Value[T]) refresh(ctx context.Context) {
	contents, sum, err := v.read()
	if err == nil && sum == v.sum {
		v.trouble, v.tried = "", sum
		return
	}
	if err == nil && sum == v.tried {
		return // was refused
	}
	var made T
	if err == nil {
		v.tried = sum
		made, err = v.from(contents)
	}
	if err != nil {
		if v.trouble != err.Error() {
			v.trouble = err.Error()
			v.log.WarnContext(ctx, "changed file cannot be used; its last content counts", "file", strings.Join(v.files, " "), "err", err.Error())
		}
		return
	}
	v.held, v.sum, v.trouble = made, sum, ""
	v.log.InfoContext(ctx, "changed file taken up", "file", strings.Join(v.files, " "))
}
