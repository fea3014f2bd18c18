package simulator

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"
	"github.com/vincent-petithory/dataurl"
)

// The guestinfo keys that Flatcar reads, and what it leaves behind: see
// ignition-delete-config.service and Ignition's vmware provider.
const (
	keyData     = "guestinfo.ignition.config.data"
	keyEncoding = "guestinfo.ignition.config.data.encoding"
	keyKargs    = "guestinfo.afterburn.initrd.network-kargs"

	deletedData     = "e30K" // {} in base64
	deletedEncoding = "base64"

	// configLimit is far beyond what fits into guestinfo: a zip bomb ends
	// here.
	configLimit = 8 << 20
)

// errNoConfig means that Ignition finds nothing to do; the machine boots as
// the template is.
var errNoConfig = errors.New("no config provided by user")

// readConfig decodes and parses guestinfo as Ignition 2.24 of Flatcar 4593
// does: stable specs up to 3.5, encodings in these very spellings.
func readConfig(extra map[string]string) (*types.Config, error) {
	raw, err := decodeGuestinfo(extra[keyData], extra[keyEncoding])
	if err != nil {
		return nil, err
	}
	// Ignition takes what is no Ignition for no config, so that
	// coreos-cloudinit can have it.
	trimmed := bytes.TrimSpace(raw)
	for _, begin := range []string{"#cloud-config", "#!", "MIME-Version:", "Content-Type: multipart/"} {
		if bytes.HasPrefix(trimmed, []byte(begin)) {
			return nil, errNoConfig
		}
	}
	if len(trimmed) == 0 {
		return nil, errNoConfig
	}
	cfg, report, err := v3_5.ParseCompatibleVersion(raw)
	if err != nil {
		if text := strings.TrimSpace(report.String()); text != "" {
			return nil, fmt.Errorf("%w: %s", err, text)
		}
		return nil, err
	}
	if report.IsFatal() {
		return nil, fmt.Errorf("config is not valid: %s", report.String())
	}
	return &cfg, nil
}

func decodeGuestinfo(data, encoding string) ([]byte, error) {
	switch encoding {
	case "":
		return []byte(data), nil
	case "b64", "base64":
		return unbase64(data)
	case "gz", "gzip":
		return gunzip([]byte(data))
	case "gz+base64", "gzip+base64", "gz+b64", "gzip+b64":
		raw, err := unbase64(data)
		if err != nil {
			return nil, err
		}
		return gunzip(raw)
	}
	return nil, fmt.Errorf("unsupported encoding %q", encoding)
}

func unbase64(data string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("unable to decode base64: %w", err)
	}
	return raw, nil
}

func gunzip(raw []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("gunzip: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, configLimit+1))
	if err != nil {
		return nil, fmt.Errorf("gunzip: %w", err)
	}
	if len(out) > configLimit {
		return nil, fmt.Errorf("config is larger than %d bytes", configLimit)
	}
	return out, nil
}

// files returns the regular files that the config writes and that matter
// here, those with inline contents, by path.
func files(cfg *types.Config) (map[string]string, error) {
	out := map[string]string{}
	for _, f := range cfg.Storage.Files {
		source := ""
		if f.Contents.Source != nil {
			source = *f.Contents.Source
		}
		if source != "" && !strings.HasPrefix(source, "data:") {
			continue // fetched from a network that is not there
		}
		body := []byte{}
		if source != "" {
			u, err := dataurl.DecodeString(source)
			if err != nil {
				return nil, fmt.Errorf("file %s: %w", f.Path, err)
			}
			body = u.Data
		}
		if c := f.Contents.Compression; c != nil && *c == "gzip" {
			var err error
			if body, err = gunzip(body); err != nil {
				return nil, fmt.Errorf("file %s: %w", f.Path, err)
			}
		}
		out[f.Path] = string(body)
	}
	return out, nil
}

// enabledUnits returns the contents of the units that the config enables and
// does not mask, by name.
func enabledUnits(cfg *types.Config) map[string]string {
	out := map[string]string{}
	for _, u := range cfg.Systemd.Units {
		enabled := u.Enabled != nil && *u.Enabled
		masked := u.Mask != nil && *u.Mask
		if enabled && !masked && u.Contents != nil {
			out[u.Name] = *u.Contents
		}
	}
	return out
}

// section returns the values of key in the named section of a systemd file,
// in their order; an empty assignment clears those before it.
func section(body, name, key string) []string {
	var out []string
	in := false
	for line := range strings.Lines(strings.ReplaceAll(body, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			in = line == "["+name+"]"
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !in || !ok || strings.TrimSpace(k) != key || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		if v = strings.TrimSpace(v); v == "" {
			out = nil
			continue
		}
		out = append(out, v)
	}
	return out
}

// last is the value that counts where systemd takes one.
func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
