package yardctl

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/specfile"
	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
)

var errNoFiles = errors.New("which file? write -f FILE, -f FOLDER, or -f - for standard input")

// filesFlag adds -f.
func filesFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "filename", "f", nil, "YAML file, folder of them, or - for standard input; may be repeated")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml")
}

// read reads the files that -f names.
func (a *app) read(names []string) ([]*yardmasterv1.Source, error) {
	if len(names) == 0 {
		return nil, wrongInput(errNoFiles)
	}
	var out []*yardmasterv1.Source
	for _, name := range names {
		files, err := expand(name)
		if err != nil {
			return nil, wrongInput(err)
		}
		for _, file := range files {
			content, err := a.readFile(file)
			if err != nil {
				return nil, wrongInput(err)
			}
			out = append(out, &yardmasterv1.Source{Filename: file, Content: content})
		}
	}
	return out, nil
}

func (a *app) readFile(name string) ([]byte, error) {
	in, what := a.env.In, "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in, what = f, name
	}
	// One byte more than the limit, so that the limit is reported.
	content, err := io.ReadAll(io.LimitReader(in, specfile.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return content, nil
}

// expand returns a file, or the YAML files of a folder.
func expand(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var out []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		files, err := filepath.Glob(filepath.Join(name, pattern))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", name, err)
		}
		out = append(out, files...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("folder %s holds no .yaml file", name)
	}
	slices.Sort(out)
	return out, nil
}

// check parses sources on the spot and reports every problem of every file.
func (a *app) check(sources []*yardmasterv1.Source) ([]*specfile.Parsed, error) {
	var docs []*specfile.Parsed
	var problems []specfile.Problem
	for _, source := range sources {
		parsed, wrong := specfile.Parse(source.GetFilename(), source.GetContent())
		problems = append(problems, specfile.Merge(wrong, checkLayers(parsed))...)
		docs = append(docs, parsed...)
	}
	return docs, a.complainOf(problems)
}

// checkLayers compiles the config layers of fleets.
func checkLayers(docs []*specfile.Parsed) []specfile.Problem {
	var out []specfile.Problem
	for _, doc := range docs {
		if f, ok := doc.Document.(*fleet.Fleet); ok {
			out = append(out, doc.Locate(render.Check(f))...)
		}
	}
	return out
}

// complainOf prints problems and ends with wrong input; nil if there is none.
func (a *app) complainOf(problems []specfile.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	_, _ = fmt.Fprint(a.env.Err, specfile.Format(problems))
	count := "1 problem"
	if len(problems) > 1 {
		count = fmt.Sprintf("%d problems", len(problems))
	}
	_, _ = fmt.Fprintln(a.env.Err, count+", nothing was sent")
	return silent(exitWrongInput)
}

// answered turns a gateway's problems into ours.
func answered(problems []*yardmasterv1.Problem) []specfile.Problem {
	out := make([]specfile.Problem, 0, len(problems))
	for _, p := range problems {
		out = append(out, specfile.Problem{
			File: p.GetFile(), Line: int(p.GetLine()), Column: int(p.GetColumn()),
			Path: p.GetPath(), Message: p.GetMessage(), Hint: p.GetHint(),
		})
	}
	return out
}
