package fleet

import (
	"fmt"
	"regexp"
	"strconv"
)

// What a pool may name in keepPaths. The guest's shell hands them on, so that
// the letters are those that need no escaping there.
const (
	maxKeepPaths = 16
	maxKeepPath  = 200
)

var keepPath = regexp.MustCompile(`^/[A-Za-z0-9._/*+?|()\[\]\\^@%:,=~-]*$`)

// onConfigChange checks what becomes of nodes whose config changes.
func (c *checker) onConfigChange(path string, pool *Pool) {
	if pool.OnConfigChange != "" {
		c.oneOf(path+".onConfigChange", pool.OnConfigChange, []string{ConfigChangeReplace, ConfigChangeRerun})
	}
	if len(pool.KeepPaths) > 0 && pool.OnConfigChange != ConfigChangeRerun {
		c.add(path+".keepPaths", "nothing stays on a disk that is replaced", "it goes with onConfigChange: rerun")
	}
	if len(pool.KeepPaths) > maxKeepPaths {
		c.add(path+".keepPaths", fmt.Sprintf("has %d entries", len(pool.KeepPaths)), fmt.Sprintf("at most %d; one expression may match several paths: /var/lib/(a|b)", maxKeepPaths))
	}
	for i, p := range pool.KeepPaths {
		at := path + ".keepPaths[" + strconv.Itoa(i) + "]"
		if !keepPath.MatchString(p) || len(p) > maxKeepPath {
			c.add(at, shown(p)+" is no expression for a path", fmt.Sprintf("begin with /, no blanks, quotes, braces or $, at most %d characters: /var/lib/data", maxKeepPath))
		} else if _, err := regexp.Compile(p); err != nil {
			c.add(at, shown(p)+" is no regular expression: "+err.Error(), "")
		}
	}
}
