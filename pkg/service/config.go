package service

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
)

// EnvPrefix begins the name of every environment variable of ours.
const EnvPrefix = "YARDMASTER_"

// Load fills the targets (pointers to structs with json tags), which hold
// the defaults: from the YAML file named by --config or YARDMASTER_CONFIG,
// then from the environment, then from flags. A field bus.url is the flag
// --bus-url and the variable YARDMASTER_BUS_URL. Unknown fields and flags
// are errors. Lists are written with commas.
func Load(name string, args []string, targets ...any) error {
	fields, err := collect(targets)
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("config", os.Getenv(EnvPrefix+"CONFIG"), "YAML `file` with any of these settings")
	given := map[string]string{}
	for _, f := range fields {
		flags.Func(f.flag(), f.usage(), func(v string) error { given[f.flag()] = v; return nil })
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(os.Stdout)
			_, _ = fmt.Fprintf(os.Stdout, "usage: %s [flags]\n\nEach flag is also a setting in the --config file and an environment\nvariable: --bus-url, bus: {url: ...}, %sBUS_URL.\n\n", name, EnvPrefix)
			flags.PrintDefaults()
			return err
		}
		return fmt.Errorf("%w; %s --help lists the flags", err, name)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; %s --help lists the flags", flags.Arg(0), name)
	}
	if *file != "" {
		if err := loadFile(*file, targets); err != nil {
			return err
		}
	}
	return override(fields, given)
}

func override(fields []field, given map[string]string) error {
	for _, f := range fields {
		if v, ok := os.LookupEnv(f.env()); ok {
			if err := f.set(v); err != nil {
				return fmt.Errorf("environment variable %s: %w", f.env(), err)
			}
		}
		if v, ok := given[f.flag()]; ok {
			if err := f.set(v); err != nil {
				return fmt.Errorf("flag --%s: %w", f.flag(), err)
			}
		}
	}
	return nil
}

// loadFile reads the file into each target. The targets share one top level,
// so that each must first be given only the keys that it knows.
func loadFile(name string, targets []any) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	asJSON, err := yaml.YAMLToJSON(content)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(asJSON, &top); err != nil {
		return fmt.Errorf("%s: the top level must be a mapping: %w", name, err)
	}
	for _, target := range targets {
		own := map[string]json.RawMessage{}
		for key := range topKeys(target) {
			if v, ok := top[key]; ok {
				own[key] = v
				delete(top, key)
			}
		}
		body, err := json.Marshal(own)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(target); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for key := range top {
		return fmt.Errorf("%s: unknown setting %q; --help lists them all", name, key)
	}
	return nil
}

func topKeys(target any) map[string]bool {
	keys := map[string]bool{}
	t := reflect.TypeOf(target).Elem()
	for i := range t.NumField() {
		if tag := jsonName(t.Field(i)); tag != "" {
			keys[tag] = true
		}
	}
	return keys
}

// field is one setting that a flag or variable can reach.
type field struct {
	path  []string
	value reflect.Value
}

func (f field) flag() string { return kebab(strings.Join(f.path, "-")) }

func (f field) env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.flag(), "-", "_"))
}

func (f field) usage() string {
	if f.value.IsZero() {
		return "setting `" + strings.Join(f.path, ".") + "`"
	}
	return fmt.Sprintf("setting `%s` (default %v)", strings.Join(f.path, "."), f.value.Interface())
}

func (f field) set(text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](f.value.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch kind := f.value.Kind(); {
	case kind == reflect.String:
		f.value.SetString(text)
	case kind == reflect.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		f.value.SetBool(v)
	case f.value.CanInt():
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		f.value.SetInt(v)
	case kind == reflect.Slice:
		f.value.Set(reflect.MakeSlice(f.value.Type(), 0, 0))
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				f.value.Set(reflect.Append(f.value, reflect.ValueOf(part).Convert(f.value.Type().Elem())))
			}
		}
	default:
		return fmt.Errorf("cannot be set from text")
	}
	return nil
}

func collect(targets []any) ([]field, error) {
	var fields []field
	for _, t := range targets {
		v := reflect.ValueOf(t)
		if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
			return nil, fmt.Errorf("configuration target %T is not a pointer to a struct", t)
		}
		fields = walk(fields, nil, v.Elem())
	}
	return fields, nil
}

func walk(fields []field, path []string, v reflect.Value) []field {
	for i := range v.NumField() {
		name := jsonName(v.Type().Field(i))
		if name == "" {
			continue
		}
		at := append(append([]string{}, path...), name)
		f := v.Field(i)
		_, text := reflect.TypeAssert[encoding.TextUnmarshaler](f.Addr())
		switch {
		case f.Kind() == reflect.Struct && !text:
			fields = walk(fields, at, f)
		case text, f.Kind() == reflect.String, f.Kind() == reflect.Bool, f.Kind() == reflect.Int, f.Kind() == reflect.Int64,
			f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String:
			fields = append(fields, field{path: at, value: f})
		}
	}
	return fields
}

func jsonName(f reflect.StructField) string {
	tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if tag == "-" || !f.IsExported() {
		return ""
	}
	return tag
}

// kebab turns bus-caFile into bus-ca-file.
func kebab(s string) string {
	var b strings.Builder
	for i, r := range s {
		if unicode.IsUpper(r) {
			if i > 0 {
				b.WriteByte('-')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
