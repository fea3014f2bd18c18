package fleet

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The bounds of a fleet.
const (
	// MaxNameLength bounds names of documents and pools.
	MaxNameLength = 40
	// MaxReplicas bounds a pool.
	MaxReplicas = 10000
	// maxGrowth bounds spec.protect.maxCreate: more than any yard holds.
	maxGrowth = 1000000
	// maxHostname is Linux's HOST_NAME_MAX less one: a DNS label.
	maxHostname = 63
	// ordinalDigits are reserved in names: surge takes ordinals beyond
	// MaxReplicas.
	ordinalDigits = 5
)

var (
	dnsLabel   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
	varName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,62}$`)
	plainField = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
	labelText  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9./_-]{0,61}[A-Za-z0-9])?$`)
)

// checker collects problems in the order of a document's fields.
type checker struct{ problems []Problem }

func (c *checker) add(path, message, hint string) {
	c.problems = append(c.problems, Problem{Path: path, Message: message, Hint: hint})
}

// Validate returns every problem of the fleet by itself, in the order of its
// fields. What needs other documents or the yard is the planner's to check.
func (f *Fleet) Validate() []Problem {
	c := &checker{}
	c.header(f.APIVersion, f.Kind, KindFleet)
	c.metadata(f.Metadata)
	c.os(f.Spec.OS)
	c.layers("spec.config", f.Spec.Config)
	c.vars("spec.vars", f.Spec.Vars)
	c.secrets(f.Spec.Secrets)
	c.pools(f)
	c.rollout(&f.Spec)
	c.protect(f.Spec.Protect)
	c.retry(f.Spec.Retry)
	return c.problems
}

func (c *checker) header(version string, kind, want Kind) {
	if version != APIVersion {
		c.add("apiVersion", shown(version)+" is not known", "write "+APIVersion)
	}
	if kind != want {
		c.add("kind", shown(string(kind))+" is not "+string(want), "")
	}
}

func (c *checker) metadata(m Metadata) {
	c.name("metadata.name", m.Name)
	if len(m.Labels) > 64 {
		c.add("metadata.labels", fmt.Sprintf("%d labels are too many", len(m.Labels)), "64 are the most")
		return
	}
	for _, key := range slices.Sorted(maps.Keys(m.Labels)) {
		path, value := field("metadata.labels", key), m.Labels[key]
		if !labelText.MatchString(key) {
			c.add(path, shown(key)+" cannot be a label's name", "at most 63 of A-Z a-z 0-9 . / _ -, a letter or digit at both ends")
		}
		if len(value) > 63 || !printable(value) {
			c.add(path, "a label's value has at most 63 printable characters", "")
		}
	}
}

// ValidName reports whether a document may have that name.
func ValidName(name string) bool { return len(name) <= MaxNameLength && dnsLabel.MatchString(name) }

// name checks that a name is a DNS label that leaves room for what is put
// behind it.
func (c *checker) name(path, name string) {
	lower := strings.ToLower(name)
	switch {
	case name == "":
		c.add(path, "is missing", "write a name of a-z, 0-9 and -")
	case len(name) > MaxNameLength:
		c.add(path, fmt.Sprintf("%s has %d characters", shown(name), len(name)), fmt.Sprintf("%d are the most", MaxNameLength))
	case dnsLabel.MatchString(name):
	case dnsLabel.MatchString(strings.NewReplacer("_", "-", " ", "-", ".", "-").Replace(lower)):
		c.add(path, shown(name)+" is not a name", fmt.Sprintf("write %q", strings.NewReplacer("_", "-", " ", "-", ".", "-").Replace(lower)))
	default:
		c.add(path, shown(name)+" is not a name", "a name has a-z, 0-9 and -, a letter or digit at both ends")
	}
}

// reference checks the name of another document.
func (c *checker) reference(path, name, what string) {
	switch {
	case name == "":
		c.add(path, "is missing", "write the name of a "+what)
	case !dnsLabel.MatchString(name) || len(name) > MaxNameLength:
		c.add(path, shown(name)+" cannot be the name of a "+what, "a name has at most "+strconv.Itoa(MaxNameLength)+" of a-z, 0-9 and -")
	}
}

func (c *checker) oneOf(path, word string, known []string) {
	if !slices.Contains(known, word) {
		c.add(path, shown(word)+" is not known here", didYouMean(word, known))
	}
}

func (c *checker) vars(path string, vars map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !varName.MatchString(name) {
			c.add(field(path, name), shown(name)+" cannot be the name of a var", "use letters, digits, _ and -, so that {{ .vars.name }} finds it")
		}
	}
}

func (c *checker) secrets(secrets map[string]Secret) {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		path := field("spec.secrets", name)
		if !varName.MatchString(name) {
			c.add(path, shown(name)+" cannot be the name of a secret", "use letters, digits, _ and -, so that {{ .secrets.name }} finds it")
		}
		c.secret(path, secrets[name])
	}
}

// secret checks a reference to a secret; the secret itself is never here.
func (c *checker) secret(path string, s Secret) {
	switch {
	case s.File != "" && s.Env != "":
		c.add(path, "has both file and env", "keep one")
	case s.File == "" && s.Env == "":
		c.add(path, "says not where the secret is", "write {file: /run/secrets/name} or {env: NAME}")
	case s.File != "" && (!strings.HasPrefix(s.File, "/") || !printable(s.File)):
		c.add(path+".file", shown(s.File)+" is not an absolute path", "write /run/secrets/name")
	case s.Env != "" && !identifier.MatchString(s.Env):
		c.add(path+".env", shown(s.Env)+" is not the name of an environment variable", "")
	}
}

func (c *checker) rollout(spec *FleetSpec) {
	r := spec.Rollout
	c.optional("spec.rollout.maxUnavailable", r.MaxUnavailable, MaxReplicas)
	c.optional("spec.rollout.maxSurge", r.MaxSurge, MaxReplicas)
	if r.MaxUnavailable == nil || *r.MaxUnavailable != 0 {
		return
	}
	if r.MaxSurge == nil || *r.MaxSurge == 0 {
		c.add("spec.rollout", "maxUnavailable and maxSurge are both 0: no node could ever be replaced", "set one of them to 1 or more")
	}
}

func (c *checker) protect(p Protect) {
	c.optional("spec.protect.maxDestroyPercent", p.MaxDestroyPercent, 100)
	c.optional("spec.protect.maxCreate", p.MaxCreate, maxGrowth)
}

// optional checks a number that may be left out.
func (c *checker) optional(path string, value *int, most int) {
	if value != nil {
		c.between(path, *value, 0, most)
	}
}

// between checks a number's range.
func (c *checker) between(path string, value, least, most int) {
	if value < least || value > most {
		c.add(path, fmt.Sprintf("%d is out of range", value), fmt.Sprintf("from %d to %d", least, most))
	}
}

func (c *checker) retry(r Retry) {
	const longest = 24 * time.Hour
	c.between("spec.retry.attempts", r.Attempts, 0, 100)
	c.duration("spec.retry.backoff", r.Backoff, time.Second, longest)
	c.duration("spec.retry.maxBackoff", r.MaxBackoff, time.Second, longest)
	if !r.Backoff.IsZero() && !r.MaxBackoff.IsZero() && r.MaxBackoff.Duration < r.Backoff.Duration {
		c.add("spec.retry.maxBackoff", fmt.Sprintf("%s is shorter than backoff %s", roundText(r.MaxBackoff.Duration), roundText(r.Backoff.Duration)), "")
	}
}

// duration checks a duration that may be left out.
func (c *checker) duration(path string, d Duration, least, most time.Duration) {
	if !d.IsZero() && (d.Duration < least || d.Duration > most) {
		c.add(path, roundText(d.Duration)+" is out of range", fmt.Sprintf("from %s to %s", roundText(least), roundText(most)))
	}
}

// roundText is a duration without the zeros that Go writes behind 10m.
func roundText(d time.Duration) string {
	s := d.String()
	s = strings.TrimSuffix(s, "0s")
	if strings.HasSuffix(s, "h0m") {
		return strings.TrimSuffix(s, "0m")
	}
	if s == "" || s[len(s)-1] >= '0' && s[len(s)-1] <= '9' {
		return d.String()
	}
	return s
}

// field is the path of a map's entry.
func field(path, name string) string {
	if plainField.MatchString(name) {
		return path + "." + name
	}
	return path + "[" + shown(name) + "]"
}

// shown is a user's text as it appears in a message.
func shown(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return strconv.Quote(s)
}

// printable reports whether text can stand on one line and has no blanks at
// its ends.
func printable(s string) bool {
	return strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
