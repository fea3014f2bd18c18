package yardctl

import (
	"strings"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/specfile"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) validateCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use: "validate -f FILE", GroupID: groupSpec, Short: "Check files on the spot, without a yard",
		Long: `validate reads the documents, compiles their config layers and reports every
problem at once: where it is, what is wrong and how to mend it. It also compares
the documents with each other: Networks that are too small for their pools or
overlap, nodes of two fleets with one name. It needs no yard.`,
		Example: `  yardctl validate -f web.yaml
  yardctl validate -f fleets/ -f sites/dc1.yaml
  generate-spec | yardctl validate -f -`,
		Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			sources, err := a.read(files)
			if err != nil {
				return err
			}
			docs, err := a.check(sources)
			if err != nil {
				return err
			}
			if err := a.complainOf(specfile.Together(docs)); err != nil {
				return err
			}
			a.say("%s in %s: %s, no problem", show.Count(len(docs), "document"), show.Count(len(sources), "file"), namesOf(docs))
			return nil
		},
	}
	filesFlag(cmd, &files)
	return cmd
}

// namesOf lists documents: Fleet web, Network dmz.
func namesOf(docs []*specfile.Parsed) string {
	names := make([]string, 0, len(docs))
	for _, d := range docs {
		names = append(names, string(d.Document.DocumentKind())+" "+d.Document.DocumentName())
	}
	return strings.Join(names, ", ")
}
