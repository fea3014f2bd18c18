package render

import "strings"

// The forms of values. They are checked for every node, and expressions of
// package regexp would cost more than all the rest of stamping.

func isLower(b byte) bool { return b >= 'a' && b <= 'z' }
func isDigit(b byte) bool { return b >= '0' && b <= '9' }
func isAlnum(b byte) bool { return isLower(b|0x20) && b < 0x80 || isDigit(b) }
func isHex(b byte) bool   { return isDigit(b) || b >= 'a' && b <= 'f' }

// all reports whether s has from least to most bytes, all of them in set.
func all(s string, least, most int, set func(byte) bool) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for i := range len(s) {
		if !set(s[i]) {
			return false
		}
	}
	return true
}

// isLabel is a lower-case DNS label of at most most characters (RFC 1123,
// section 2.1).
func isLabel(s string, most int) bool {
	return all(s, 1, most, func(b byte) bool { return isLower(b) || isDigit(b) || b == '-' }) && s[0] != '-' && s[len(s)-1] != '-'
}

// maxLabel is DNS's; a node's name is three labels joined and not looked up.
const (
	maxLabel = 63
	maxName  = 2 * maxLabel
)

func isName(s string) bool  { return isLabel(s, maxName) }
func isPlain(s string) bool { return isLabel(s, maxLabel) }

// maxHostname is what Linux's sethostname takes.
const maxHostname = 64

// isHostname is dotted labels in any case.
func isHostname(s string) bool {
	if len(s) > maxHostname {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !all(label, 1, maxLabel, func(b byte) bool { return isAlnum(b) || b == '-' }) || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// shaped reports whether s is hexadecimal digits with a separator wherever
// the shape has one.
func shaped(s, shape string) bool {
	if len(s) != len(shape) {
		return false
	}
	for i := range len(s) {
		if shape[i] == 'x' && !isHex(s[i]) || shape[i] != 'x' && s[i] != shape[i] {
			return false
		}
	}
	return true
}

func isMAC(s string) bool  { return shaped(s, "xx:xx:xx:xx:xx:xx") }
func isUUID(s string) bool { return shaped(s, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") }

// isToken is what can stand in an environment file and in an HTTP header.
func isToken(s string) bool {
	return all(s, 16, 128, func(b byte) bool { return isAlnum(b) || b == '-' || b == '_' })
}

// isURL is an http or https URL without credentials, query and fragment, and
// without whatever means something in an environment file.
func isURL(s string) bool {
	rest, ok := strings.CutPrefix(s, "http://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "https://")
	}
	return ok && rest != "" && rest[0] != '/' && rest[0] != ':' &&
		all(rest, 1, 512, func(b byte) bool { return isAlnum(b) || strings.IndexByte(".:_~%/[]-", b) >= 0 })
}
