package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/go-semver/semver"
	igntypes "github.com/coreos/ignition/v2/config/shared/errors"
	ignition "github.com/coreos/ignition/v2/config/v3_4"
	"github.com/coreos/ignition/v2/config/v3_4/types"
)

// rawIgnition is a layer of Ignition JSON.
type rawIgnition struct {
	text    string
	version semver.Version
}

// readIgnition looks at what kind of config the text is.
func readIgnition(text string) (*rawIgnition, []finding) {
	if len(text) > maxInput {
		return nil, []finding{{message: fmt.Sprintf("%d KiB of Ignition; the most is %d KiB", len(text)>>10, maxInput>>10)}}
	}
	if hint := otherLanguage(text); hint != "" {
		return nil, []finding{{message: "this is not Ignition JSON", hint: hint}}
	}
	var head struct {
		Ignition *struct {
			Version string `json:"version"`
		} `json:"ignition"`
		IgnitionVersion json.RawMessage `json:"ignitionVersion"`
		Storage         struct{ Files, Links, Directories []json.RawMessage }
		Systemd         struct{ Units []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		f := jsonFinding(text, err)
		if strings.HasPrefix(text, "variant:") || strings.Contains(text, "\nvariant:") {
			f.hint = "this is Butane; write it as a layer of its own: - butane: |"
		}
		return nil, []finding{f}
	}
	if head.IgnitionVersion != nil {
		return nil, []finding{{message: "this is an Ignition v1 config", hint: "write version 3.3.0; Flatcar no longer promises to read v1 and v2"}}
	}
	if head.Ignition == nil || head.Ignition.Version == "" {
		return nil, []finding{{message: "ignition.version is missing", hint: `begin with {"ignition": {"version": "3.3.0"}}`}}
	}
	version, wrong := ignitionVersion(head.Ignition.Version)
	if wrong != nil {
		return nil, []finding{*wrong}
	}
	if n := len(head.Storage.Files) + len(head.Storage.Links) + len(head.Storage.Directories) + len(head.Systemd.Units); n > maxItems {
		return nil, []finding{{message: fmt.Sprintf("%d files, links, directories and units; the most is %d", n, maxItems)}}
	}
	return &rawIgnition{text: text, version: version}, nil
}

func ignitionVersion(s string) (semver.Version, *finding) {
	v, err := semver.NewVersion(s)
	switch {
	case err != nil:
		return semver.Version{}, &finding{message: fmt.Sprintf("ignition.version %q is not a version", s), hint: "write 3.3.0"}
	case v.Major < 3:
		return semver.Version{}, &finding{message: "Ignition v" + s + " configs are not supported", hint: "write version 3.3.0; units and files have other names there"}
	case v.PreRelease != "" || v.Metadata != "" || types.MaxVersion.LessThan(*v):
		return semver.Version{}, &finding{message: "Ignition " + s + " is newer than every supported Flatcar reads", hint: "write version 3.3.0 or 3.4.0"}
	}
	return *v, nil
}

func jsonFinding(text string, err error) finding {
	f := finding{message: "not JSON: " + err.Error()}
	var offset int64 = -1
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = e.Offset
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = e.Offset
		f.message = fmt.Sprintf("a %s where %s is expected", e.Value, e.Field)
	}
	if offset >= 0 && offset <= int64(len(text)) {
		f.line = 1 + strings.Count(text[:offset], "\n")
	}
	return f
}

func (r *rawIgnition) spec() semver.Version { return r.version }

func (r *rawIgnition) texts(visit func(string)) { visit(r.text) }

// jsonLine returns the line of a text on which a string value stands.
func jsonLine(text, value string) int {
	quoted, err := quoteJSON(value)
	if err != nil {
		return 0
	}
	before, _, ok := strings.Cut(text, quoted)
	if !ok {
		return 0
	}
	return 1 + strings.Count(before, "\n")
}

// translate fills the string values in place, so that lines stay lines, and
// has Ignition parse and validate the result. Unknown keys are warnings
// there and refused here.
func (r *rawIgnition) translate(fill filler) (translated, []finding) {
	text, wrong := fillJSON(r.text, fill)
	if len(wrong) > 0 {
		return translated{}, wrong
	}
	cfg, rep, err := ignition.ParseCompatibleVersion([]byte(text))
	if wrong = reportFindings(rep, nil); len(wrong) > 0 {
		return translated{}, wrong
	}
	if errors.Is(err, igntypes.ErrUnknownVersion) || errors.Is(err, igntypes.ErrInvalidVersion) {
		return translated{}, []finding{{message: "ignition.version must be 3.0.0 to 3.4.0"}}
	}
	if err != nil {
		return translated{}, []finding{{message: err.Error()}}
	}
	return translated{config: cfg, line: func(value string) int { return jsonLine(text, value) }}, nil
}

// fillJSON fills every string value of a JSON text that has placeholders and
// leaves all else as it is.
func fillJSON(text string, fill filler) (string, []finding) {
	if !strings.Contains(text, "{{") && !strings.Contains(text, `\u007`) {
		return text, nil
	}
	var out strings.Builder
	var wrong []finding
	for i := 0; i < len(text); {
		if text[i] != '"' {
			out.WriteByte(text[i])
			i++
			continue
		}
		end := stringEnd(text, i)
		written, err := fillLiteral(text[i:end], isKey(text[end:]), fill)
		if err != nil {
			wrong = append(wrong, finding{line: 1 + strings.Count(text[:i], "\n"), message: err.Error()})
		}
		out.WriteString(written)
		i = end
	}
	return out.String(), wrong
}

// stringEnd returns the index after the string literal that starts at i. The
// text is valid JSON, so it ends.
func stringEnd(text string, i int) int {
	for j := i + 1; j < len(text); j++ {
		switch text[j] {
		case '\\':
			j++
		case '"':
			return j + 1
		}
	}
	return len(text)
}

func isKey(after string) bool {
	return strings.HasPrefix(strings.TrimLeft(after, " \t\r\n"), ":")
}

var errKeyPlaceholder = errors.New("a placeholder in the name of a field; placeholders stand in values only")

func fillLiteral(literal string, key bool, fill filler) (string, error) { //nolint:revive // flag-parameter: whether it is a key is a fact about the literal
	var value string
	if err := json.Unmarshal([]byte(literal), &value); err != nil {
		return "", err
	}
	if !strings.Contains(value, "{{") {
		return literal, nil
	}
	if key {
		return "", errKeyPlaceholder
	}
	value, err := fillText(value, fill)
	if err != nil {
		return "", err
	}
	return quoteJSON(value)
}

// quoteJSON writes a string literal with nothing escaped that need not be.
func quoteJSON(value string) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
