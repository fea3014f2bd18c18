package yardctl

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/schema"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", GroupID: groupSpec, Short: "Print the JSON Schema of the documents, for editors",
		Long: `schema prints the JSON Schema (draft 2020-12) of Fleet, Network and Site, so that
an editor completes fields and underlines mistakes. With the YAML language
server, write at the top of a file:

  # yaml-language-server: $schema=yardmaster.schema.json

It knows fields, types and values; yardctl validate knows all the rules.`,
		Example: `  yardctl schema > yardmaster.schema.json`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			text, err := schema.JSON()
			if err != nil {
				return err
			}
			_, err = a.env.Out.Write(text)
			return err
		},
	}
}

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain [FIELD]", GroupID: groupSpec, Short: "Say what a field of a document means",
		Long: `explain tells what a field means, how it is written, what it is when it is left
out, and which fields it has: fleet.spec.pools.vsphere. A path out of an error
message will do, too. It needs no yard.`,
		Example: `  yardctl explain
  yardctl explain fleet.spec
  yardctl explain fleet.spec.pools.vsphere.clone`,
		Args:              arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeField,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.explainKinds()
			}
			f, err := schema.Find(args[0])
			if err != nil {
				return wrongInput(err)
			}
			return a.explain(f)
		},
	}
}

// completeField completes the last word of a path.
func completeField(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	fields := schema.Documents()
	if i := strings.LastIndexByte(word, '.'); i >= 0 {
		f, err := schema.Find(word[:i])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		fields = f.Fields
	}
	out := make([]string, 0, len(fields))
	for _, f := range fields {
		out = append(out, f.Path)
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// explained is a field for machines.
type explained struct {
	Path     string      `json:"path"`
	Type     string      `json:"type"`
	Required bool        `json:"required"`
	Means    string      `json:"means"`
	Default  string      `json:"default"`
	OneOf    []string    `json:"oneOf,omitempty"`
	Fields   []explained `json:"fields,omitempty"`
}

func explainedOf(f *schema.Field) explained {
	out := explained{Path: f.Path, Type: f.String(), Required: f.Required, Means: f.Means, Default: f.Default, OneOf: f.OneOf}
	for _, child := range f.Fields {
		out.Fields = append(out.Fields, explainedOf(child))
	}
	return out
}

func (a *app) explainKinds() error {
	if a.machine() {
		out := []explained{}
		for _, f := range schema.Documents() {
			out = append(out, explainedOf(f))
		}
		return a.emitPlain(map[string]any{"documents": out})
	}
	for _, f := range schema.Documents() {
		a.say("%-10s %s", f.Name, f.Means)
	}
	a.say("")
	a.say("see    yardctl explain fleet.spec")
	return nil
}

// screenWidth is what a screen has at least.
const screenWidth = 100

func (a *app) explain(f *schema.Field) error {
	if a.machine() {
		return a.emitPlain(explainedOf(f))
	}
	head := f.String()
	if f.Required {
		head += ", required"
	}
	a.say("%s  (%s)", f.Path, head)
	a.wrap("  ", f.Means)
	if len(f.OneOf) > 0 {
		a.say("  one of   %s", strings.Join(f.OneOf, ", "))
	}
	if f.Default != "" {
		a.say("  default  %s", f.Default)
	}
	for _, child := range f.Fields {
		a.say("")
		note := child.String()
		if child.Required {
			note += ", required"
		}
		if child.Default != "" {
			note += fmt.Sprintf(", default %s", child.Default)
		}
		a.say("  %s  (%s)", child.Name, note)
		a.wrap("    ", child.Means)
		if len(child.OneOf) > 0 {
			a.say("    one of %s", strings.Join(child.OneOf, ", "))
		}
	}
	return nil
}

// wrap prints a text in lines that fit a screen.
func (a *app) wrap(indent, text string) {
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word)+1 > screenWidth && line != indent {
			a.say("%s", line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	if line != indent {
		a.say("%s", line)
	}
}
