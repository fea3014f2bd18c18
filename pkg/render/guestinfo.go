package render

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
)

// The keys of a VM's extra config that Flatcar reads, exactly so spelt; other
// spellings are ignored in silence.
const (
	GuestInfoData         = "guestinfo.ignition.config.data"
	GuestInfoEncoding     = "guestinfo.ignition.config.data.encoding"
	GuestInfoNetworkKargs = "guestinfo.afterburn.initrd.network-kargs"
)

// Encoding is the only encoding that we write.
const Encoding = "gzip+base64"

// MaxGuestInfo is the most that we put into one guestinfo value. The hard
// limit is 64 KiB; a VM holds other things too.
const MaxGuestInfo = 48 << 10

// ErrTooLarge says that a config does not fit into guestinfo.
var ErrTooLarge = errors.New("the config is too large for guestinfo")

// GuestInfo returns the extra config of the node's VM.
func (c *Config) GuestInfo() map[string]string {
	out := map[string]string{GuestInfoData: c.Encoded, GuestInfoEncoding: Encoding}
	if c.NetworkKargs != "" {
		out[GuestInfoNetworkKargs] = c.NetworkKargs
	}
	maps.Copy(out, c.Variables)
	return out
}

// packer compresses; a new gzip writer for each node would cost 0.8 MB.
type packer struct {
	buf bytes.Buffer
	gz  *gzip.Writer
}

var packers = sync.Pool{New: func() any { return &packer{gz: gzip.NewWriter(io.Discard)} }}

func (c *Config) encode() error {
	p, ok := packers.Get().(*packer)
	if !ok {
		return errors.New("the pool holds something else")
	}
	defer packers.Put(p)
	p.buf.Reset()
	p.gz.Reset(&p.buf)
	if _, err := p.gz.Write(c.Ignition); err != nil {
		return fmt.Errorf("compress the config: %w", err)
	}
	if err := p.gz.Close(); err != nil {
		return fmt.Errorf("compress the config: %w", err)
	}
	c.Encoded = base64.StdEncoding.EncodeToString(p.buf.Bytes())
	c.Size = len(c.Encoded)
	if c.Size > MaxGuestInfo {
		return fmt.Errorf("%w: %d bytes encoded, the most is %d", ErrTooLarge, c.Size, MaxGuestInfo)
	}
	return nil
}
