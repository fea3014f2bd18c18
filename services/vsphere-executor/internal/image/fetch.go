package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"yardmaster.dev/pkg/fault"
)

const (
	// tries is how often a transfer is taken up again in one go.
	tries = 5
	// tryAgain is the pause before the second try, doubled each time.
	tryAgain = 250 * time.Millisecond
	// stalled is how long a transfer may stand still.
	stalled = time.Minute
	// tellEvery is how many bytes pass between two reports.
	tellEvery = 1 << 20
)

var errStalled = errors.New("no byte came for a minute")

// origin is what a half-fetched file came from: another origin means that it
// is of no use.
type origin struct {
	Location string `json:"location"`
	// Validator is the server's strong ETag or the date of change.
	Validator string `json:"validator"`
	Total     int64  `json:"total"`
}

func remote(location string) bool {
	return strings.HasPrefix(location, "http://") || strings.HasPrefix(location, "https://")
}

// bring gets the whole file, in as many goes as it takes.
func (s *Store) bring(ctx context.Context, name, location string, tell Progress) error {
	wait := tryAgain
	var err error
	for n := range tries {
		if n > 0 {
			if err := pause(ctx, wait); err != nil {
				return err
			}
			wait *= 2
		}
		t := &transfer{store: s, name: name, location: location, tell: tell}
		err = t.run(ctx)
		if err == nil || ctx.Err() != nil || fault.Of(err).Kind == fault.Permanent {
			break
		}
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// transfer is one go.
type transfer struct {
	store    *Store
	name     string
	location string
	tell     Progress

	part   *os.File
	have   int64
	origin origin
}

func (t *transfer) run(ctx context.Context) error {
	var err error
	if t.part, err = os.OpenFile(t.store.part(t.name), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return t.trouble(err)
	}
	if err = t.resume(); err == nil {
		if remote(t.location) {
			err = t.download(ctx)
		} else {
			err = t.copy(ctx)
		}
	}
	if err == nil {
		err = t.part.Sync()
	}
	if err = errors.Join(err, t.part.Close()); err != nil {
		return t.trouble(err)
	}
	if err := os.Rename(t.store.part(t.name), t.store.file(t.name)); err != nil {
		return t.trouble(err)
	}
	_ = os.Remove(t.store.note(t.name)) // of no account without its file
	return nil
}

// trouble classifies what is not classified yet: the disk is full, the line
// was cut. Both mend themselves.
func (t *transfer) trouble(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return fault.WithHint(fault.Newf(fault.Transient, fault.ImageUnreachable, "fetch %s: %w", t.location, err),
		"it goes on where it stopped; look at the line, and at the room in the executor's imagesDir")
}

// resume finds out what an earlier go left.
func (t *transfer) resume() error {
	body, err := os.ReadFile(t.store.note(t.name))
	if err == nil {
		err = json.Unmarshal(body, &t.origin)
	}
	if err != nil || t.origin.Location != t.location || t.origin.Validator == "" {
		t.origin = origin{}
		return t.restart()
	}
	t.have, err = t.part.Seek(0, io.SeekEnd)
	if t.origin.Total > 0 && t.have > t.origin.Total {
		return t.restart()
	}
	return err
}

func (t *transfer) restart() error {
	t.have = 0
	_, err := t.part.Seek(0, io.SeekStart)
	return errors.Join(err, t.part.Truncate(0))
}

// begin notes what comes, before its first byte is kept.
func (t *transfer) begin(o origin) error {
	if o.Total > MaxBytes {
		return fault.Newf(fault.Permanent, fault.ImageUntrusted, "%s has %d bytes; images have at most %d", t.location, o.Total, int64(MaxBytes))
	}
	t.origin = o
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return os.WriteFile(t.store.note(t.name), body, 0o600)
}

// copy takes the file from the executor's own disk.
func (t *transfer) copy(ctx context.Context) error {
	f, err := t.store.open(t.location)
	if err != nil {
		return unreachable(err, t.location)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return unreachable(err, t.location)
	}
	if !info.Mode().IsRegular() {
		return fault.Newf(fault.Permanent, fault.ImageMissing, "%s is no plain file", t.location)
	}
	now := origin{Location: t.location, Validator: info.ModTime().UTC().Format(time.RFC3339Nano), Total: info.Size()}
	if now != t.origin {
		if err := t.restart(); err != nil {
			return err
		}
	}
	if err := t.begin(now); err != nil {
		return err
	}
	if _, err := f.Seek(t.have, io.SeekStart); err != nil {
		return err
	}
	return t.take(&stoppable{ctx, f}, func() {})
}

// download asks for what is missing. A server that cannot say that its file
// is the same as before sends all of it.
func (t *transfer) download(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stalled, func() { cancel(errStalled) })
	defer watch.Stop()
	headers := http.Header{}
	if t.have > 0 {
		headers.Set("Range", "bytes="+strconv.FormatInt(t.have, 10)+"-")
		headers.Set("If-Range", t.origin.Validator)
	}
	answer, err := t.store.get(ctx, t.location, headers)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		if t.have == t.origin.Total && t.have > 0 {
			return nil // it was complete
		}
		return errors.Join(errors.New("the server has no such range"), t.restart())
	}
	if err := t.accept(answer); err != nil {
		return err
	}
	if err := t.take(answer.Body, func() { watch.Reset(stalled) }); err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			return errStalled
		}
		return err
	}
	return nil
}

// accept compares an answer with what was asked for.
func (t *transfer) accept(answer *http.Response) error {
	if answer.StatusCode == http.StatusPartialContent {
		text := answer.Header.Get("Content-Range")
		first, total, ok := contentRange(text)
		if !ok || first != t.have || t.origin.Total > 0 && total != t.origin.Total {
			return errors.Join(fmt.Errorf("the server sent the range %q, asked for from %d", text, t.have), t.restart())
		}
		return nil
	}
	if err := t.restart(); err != nil {
		return err
	}
	return t.begin(origin{Location: t.location, Validator: validator(answer.Header), Total: max(0, answer.ContentLength)})
}

// take keeps what a reader gives.
func (t *transfer) take(r io.Reader, moved func()) error {
	report := &reported{t: t, moved: moved}
	t.tell(t.have, t.origin.Total)
	n, err := io.Copy(report, io.LimitReader(r, MaxBytes+1-t.have))
	t.tell(t.have, t.origin.Total)
	switch {
	case err != nil:
		return err
	case t.have > MaxBytes:
		return fault.Newf(fault.Permanent, fault.ImageUntrusted, "%s has more than %d bytes", t.location, int64(MaxBytes))
	case t.origin.Total > 0 && t.have != t.origin.Total:
		return fmt.Errorf("%d bytes came and %d of %d are there: %w", n, t.have, t.origin.Total, io.ErrUnexpectedEOF)
	}
	return nil
}

// reported writes to the file and tells of it.
type reported struct {
	t     *transfer
	moved func()
	since int64
}

// Write implements io.Writer.
func (r *reported) Write(b []byte) (int, error) {
	n, err := r.t.part.Write(b)
	r.t.have += int64(n)
	r.moved()
	if r.since += int64(n); r.since >= tellEvery {
		r.since = 0
		r.t.tell(r.t.have, r.t.origin.Total)
	}
	return n, err
}

// get asks for a URL; an answer that is no content is an error.
func (s *Store) get(ctx context.Context, location string, headers http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, http.NoBody)
	if err != nil {
		return nil, fault.Newf(fault.Permanent, fault.ImageMissing, "fetch %s: %w", location, err)
	}
	maps.Copy(req.Header, headers)
	// A compressed transfer has no ranges of the file's own bytes.
	req.Header.Set("Accept-Encoding", "identity")
	client := s.Client
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(req)
	if err != nil {
		return nil, fault.WithHint(fault.Newf(fault.Transient, fault.ImageUnreachable, "fetch: %w", cause(ctx, err)),
			"the executor must reach it; a mirror is named in the Site's spec.vsphere.images.from")
	}
	switch answer.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		return answer, nil
	}
	_ = answer.Body.Close()
	return nil, refused(location, answer)
}

// cause tells a stall, which shows as a cancelled context, from a stop.
func cause(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

func refused(location string, answer *http.Response) error {
	err := fmt.Errorf("fetch %s: the server answered %s", location, answer.Status)
	if answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout {
		return fault.New(fault.Transient, fault.ImageUnreachable, err)
	}
	return fault.WithHint(fault.New(fault.Permanent, fault.ImageMissing, err), missingHint)
}

const missingHint = "correct the channel, the version or where images come from (spec.vsphere.images.from of the Site); an image and its .sig lie side by side"

// unreachable classifies the failure to open a local file.
func unreachable(err error, location string) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err // the path stands in the message already
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fault.WithHint(fault.Newf(fault.Permanent, fault.ImageMissing, "open %s at the executor: %w", location, err), missingHint)
	}
	return fault.Newf(fault.Transient, fault.ImageUnreachable, "open %s at the executor: %w", location, err)
}

// validator is what proves later that a file is still the same, empty if
// nothing does.
func validator(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

var rangeText = regexp.MustCompile(`^bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})$`)

// contentRange reads a Content-Range header.
func contentRange(text string) (first, total int64, ok bool) {
	m := rangeText.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, false
	}
	first, err1 := strconv.ParseInt(m[1], 10, 64)
	last, err2 := strconv.ParseInt(m[2], 10, 64)
	total, err3 := strconv.ParseInt(m[3], 10, 64)
	return first, total, errors.Join(err1, err2, err3) == nil && first <= last && last < total
}
