package yardctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/fleet"
	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) checkOutput() error {
	if slices.Contains(outputs, a.output) {
		return nil
	}
	hint := "write " + strings.Join(outputs, ", ")
	if near := fleet.Nearest(a.output, outputs); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return wrongInput(fmt.Errorf("-o %s is not known; %s", a.output, hint))
}

// machine reports whether the output is for machines.
func (a *app) machine() bool { return a.output == outJSON || a.output == outYAML }

// emit prints a message for machines, or calls human.
func (a *app) emit(m proto.Message, human func() error) error {
	if !a.machine() {
		return human()
	}
	body, err := marshal(m)
	if err != nil {
		return err
	}
	return a.emitJSON(body)
}

// emitJSON prints JSON as it is or as YAML.
func (a *app) emitJSON(body []byte) error {
	if a.output == outYAML {
		text, err := yaml.JSONToYAML(body)
		if err != nil {
			return fmt.Errorf("print as YAML: %w", err)
		}
		_, err = a.env.Out.Write(text)
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil {
		return fmt.Errorf("print as JSON: %w", err)
	}
	out.WriteByte('\n')
	_, err := a.env.Out.Write(out.Bytes())
	return err
}

// marshal writes a message as compact JSON: protojson puts blanks at random
// places so that nobody relies on them.
func marshal(m proto.Message) ([]byte, error) {
	body, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("print as JSON: %w", err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, body); err != nil {
		return nil, fmt.Errorf("print as JSON: %w", err)
	}
	return out.Bytes(), nil
}

// say prints a line for people.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintln(a.env.Out, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

// warn tells on stderr when an answer may be old or a command will wait.
func (a *app) warn(read *yardmasterv1.ReadStatus) {
	if read.GetWarning() == "" {
		return
	}
	at := read.GetAsOf().AsTime()
	_, _ = fmt.Fprintln(a.env.Err, a.palette.Paint(show.Yellow, fmt.Sprintf("as of %s (%s old: %s)",
		clock(at), show.Age(a.env.Now().Sub(at)), read.GetWarning())))
}

// clock is a time of day as it is on the wall.
func clock(t time.Time) string { return t.Local().Format("15:04:05") }

// age is how long ago something was; empty when it never was.
func (a *app) age(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return show.Age(a.env.Now().Sub(t.AsTime()))
}

// grid is a table.
type grid struct {
	header []string
	rows   [][]string
	// right are the columns of numbers.
	right []string
	// notes stand below a row, by its index.
	notes map[int]string
}

// grid prints a table, or says that there is nothing.
func (a *app) grid(g grid, none string) {
	if len(g.rows) == 0 {
		_, _ = fmt.Fprintln(a.env.Err, none)
		return
	}
	w := table.NewWriter()
	w.SetStyle(table.Style{
		Box:     table.BoxStyle{PaddingRight: "  "},
		Format:  table.FormatOptions{Header: text.FormatUpper},
		Options: table.OptionsNoBordersAndSeparators,
	})
	w.SuppressTrailingSpaces()
	header := make(table.Row, len(g.header))
	var columns []table.ColumnConfig
	for i, h := range g.header {
		header[i] = h
		if slices.Contains(g.right, h) {
			columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	w.AppendHeader(header)
	w.SetColumnConfigs(columns)
	for _, row := range g.rows {
		cells := make(table.Row, len(row))
		for i, c := range row {
			cells[i] = c
		}
		w.AppendRow(cells)
	}
	for i, line := range strings.Split(w.Render(), "\n") {
		_, _ = fmt.Fprintln(a.env.Out, line)
		if note := g.notes[i-1]; note != "" {
			_, _ = fmt.Fprintln(a.env.Out, "             "+note)
		}
	}
}

// state is a state with its sign, coloured.
func (a *app) state(name string) string {
	return a.palette.State(name, show.Sign(name)+" "+name)
}

// short is the beginning of a digest or id.
func short(id string) string { return id[:min(len(id), 8)] }
