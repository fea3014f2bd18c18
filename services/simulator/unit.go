package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// phoneHome is a unit that reports to somebody, as the guest's disk keeps
// it until it succeeded once.
type phoneHome struct {
	Unit string `json:"unit"`
	// Exec is the unit's ExecStart, Env the environment of its files.
	Exec string            `json:"exec"`
	Env  map[string]string `json:"env"`
	// Files are those that the command reads.
	Files map[string]string `json:"files,omitempty"`
	Retry time.Duration     `json:"retry"`
	Tries int               `json:"tries,omitempty"`
}

const (
	// systemd's default of RestartSec is 100 ms; a guest that does not say
	// otherwise would be hammering.
	defaultRetry   = time.Second
	curlTimeout    = 30 * time.Second
	osReleaseFile  = "/etc/os-release"
	conditionExist = "ConditionPathExists"
)

// findPhoneHome looks for the enabled unit that runs curl once its condition
// is met, and takes its environment from the files it names.
func findPhoneHome(units, files map[string]string, version string) (*phoneHome, error) {
	for _, name := range sortedKeys(units) {
		body := units[name]
		exec := last(section(body, "Service", "ExecStart"))
		if !strings.Contains(exec, "curl") || !strings.Contains(exec, "PHONE_HOME_URL") {
			continue
		}
		if c := last(section(body, "Unit", conditionExist)); c != "" {
			if _, ok := files[c]; !ok {
				return nil, fmt.Errorf("%s: skipped, %s=%s is not met", name, conditionExist, c)
			}
		}
		p := &phoneHome{Unit: name, Exec: exec, Files: mentioned(exec, files), Retry: defaultRetry}
		var err error
		if p.Env, err = environment(name, body, files, version); err != nil {
			return nil, err
		}
		if s := last(section(body, "Service", "RestartSec")); s != "" {
			d, err := restartSec(s)
			if err != nil {
				return nil, fmt.Errorf("%s: RestartSec: %w", name, err)
			}
			p.Retry = d
		}
		return p, nil
	}
	return nil, nil //nolint:nilnil // a config without the unit is none's fault
}

// environment reads the environment files of a unit.
func environment(name, body string, files map[string]string, version string) (map[string]string, error) {
	env := map[string]string{}
	for _, file := range section(body, "Service", "EnvironmentFile") {
		content, ok := files[strings.TrimPrefix(file, "-")]
		if file == osReleaseFile {
			content, ok = "ID=flatcar\nVERSION_ID="+version+"\n", true
		}
		if !ok && !strings.HasPrefix(file, "-") {
			return nil, fmt.Errorf("%s: EnvironmentFile %s is missing", name, file)
		}
		readEnvironment(env, content)
	}
	return env, nil
}

// atFile is how a curl command line names a file that it reads.
var atFile = regexp.MustCompile(`@(/[A-Za-z0-9._/-]+)`)

// mentioned returns the files of a config that a command line, or a script,
// has curl read; nil if there is none.
func mentioned(text string, files map[string]string) map[string]string {
	var out map[string]string
	for _, m := range atFile.FindAllStringSubmatch(text, -1) {
		if content, ok := files[m[1]]; ok {
			if out == nil {
				out = map[string]string{}
			}
			out[m[1]] = content
		}
	}
	return out
}

func restartSec(s string) (time.Duration, error) {
	if n, err := strconv.Atoi(s); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	return time.ParseDuration(strings.ReplaceAll(strings.ReplaceAll(s, "min", "m"), " ", ""))
}

func readEnvironment(env map[string]string, content string) {
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		k, v, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		env[strings.TrimSpace(k)] = strings.Trim(strings.TrimSpace(v), `"'`)
	}
}

// specifiers of systemd.unit(5) that a unit of ours may use.
type specifiers struct{ machineID, bootID, hostname string }

// command splits an ExecStart as systemd.service(5), "Command lines", says:
// quotes and escapes first, then specifiers, then variables.
func command(exec string, s specifiers, env map[string]string) ([]string, error) {
	words, err := splitWords(exec)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, w := range words {
		w, err := s.expand(w)
		if err != nil {
			return nil, err
		}
		out = append(out, expandVariables(w, env))
	}
	return out, nil
}

func (s specifiers) expand(w string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(w); i++ {
		if w[i] != '%' {
			b.WriteByte(w[i])
			continue
		}
		i++
		if i == len(w) {
			return "", errors.New("a specifier is cut short")
		}
		switch w[i] {
		case '%':
			b.WriteByte('%')
		case 'm':
			b.WriteString(s.machineID)
		case 'b':
			b.WriteString(s.bootID)
		case 'H':
			b.WriteString(s.hostname)
		default:
			return "", fmt.Errorf("specifier %%%c is not known here", w[i])
		}
	}
	return b.String(), nil
}

// expandVariables replaces ${NAME}; $NAME as a word of its own, which systemd
// splits at spaces, no unit of ours uses.
func expandVariables(w string, env map[string]string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(w, "${")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			b.WriteString("${" + rest)
			return b.String()
		}
		b.WriteString(env[name])
		w = after
	}
}

// splitter collects the words of a command line.
type splitter struct {
	words  []string
	word   strings.Builder
	inWord bool
	quote  byte
}

func splitWords(line string) ([]string, error) {
	var s splitter
	for i := 0; i < len(line); i++ {
		if line[i] != '\\' {
			s.plain(line[i])
			continue
		}
		if i++; i == len(line) {
			return nil, errors.New("an escape is cut short")
		}
		s.add(unescape(line[i]))
	}
	if s.quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	s.end()
	return s.words, nil
}

func (s *splitter) plain(c byte) {
	switch {
	case c == s.quote:
		s.quote = 0
	case s.quote != 0:
		s.add(c)
	case c == '"' || c == '\'':
		s.quote, s.inWord = c, true
	case c == ' ' || c == '\t':
		s.end()
	default:
		s.add(c)
	}
}

func (s *splitter) add(c byte) {
	s.word.WriteByte(c)
	s.inWord = true
}

func (s *splitter) end() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.inWord = false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 's':
		return ' '
	}
	return c
}

// call is what a curl command line asks for.
type call struct {
	method, url, body string
	header            http.Header
	timeout           time.Duration
	files             map[string]string
}

// curlOptions are the options that take a value; those of curlSwitches do
// not, and change nothing here.
var (
	curlOptions  = []string{"-H", "--header", "-d", "--data", "--data-raw", "-X", "--request", "--max-time", "-m", "--retry", "--connect-timeout", "--cacert", "-o", "--output"}
	curlSwitches = []string{"--fail", "-f", "--silent", "-s", "--show-error", "-S", "--location", "-L", "-sS", "-fsS", "-fsSL", "--insecure", "-k"}
)

// parseCurl reads a curl command line; files are those that it may read.
func parseCurl(argv []string, files map[string]string) (call, error) {
	c := call{method: http.MethodGet, header: http.Header{}, timeout: curlTimeout, files: files}
	if len(argv) == 0 || !strings.HasSuffix(argv[0], "curl") {
		return c, errors.New("the command is not curl")
	}
	for i := 1; i < len(argv); i++ {
		arg := argv[i]
		switch {
		case slices.Contains(curlOptions, arg):
			i++
			if i == len(argv) {
				return c, fmt.Errorf("curl: option %s: requires parameter", arg)
			}
			if err := c.option(arg, argv[i]); err != nil {
				return c, err
			}
		case slices.Contains(curlSwitches, arg):
		case strings.HasPrefix(arg, "-"):
			return c, fmt.Errorf("curl: option %s: is unknown", arg)
		case c.url != "":
			return c, fmt.Errorf("curl: a second URL %q", arg)
		default:
			c.url = arg
		}
	}
	if c.url == "" {
		return c, errors.New("curl: (2) no URL specified")
	}
	return c, nil
}

func (c *call) option(name, value string) error {
	switch name {
	case "-H", "--header":
		return c.headers(value)
	case "-d", "--data", "--data-raw":
		c.body = value
		if c.method == http.MethodGet {
			c.method = http.MethodPost
		}
	case "-X", "--request":
		c.method = value
	case "-m", "--max-time":
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("curl: option %s: expected a proper numerical parameter", name)
		}
		c.timeout = time.Duration(seconds * float64(time.Second))
	}
	return nil
}

// headers takes a header, or those of a file.
func (c *call) headers(value string) error {
	if name, ok := strings.CutPrefix(value, "@"); ok {
		content, ok := c.files[name]
		if !ok {
			return fmt.Errorf("curl: (26) failed to open %s", name)
		}
		value = strings.TrimSpace(content)
	}
	for line := range strings.SplitSeq(value, "\n") {
		k, v, ok := strings.Cut(line, ":")
		if !ok || strings.Contains(line, "\r") {
			return fmt.Errorf("curl: header %q", k)
		}
		c.header.Add(k, strings.TrimSpace(v))
	}
	return nil
}
