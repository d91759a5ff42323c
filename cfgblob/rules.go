package cfgblob

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A rule is one condition of a field's tag:
//
//	Workers int           `json:"workers" check:"required,min=1,max=64"`
//	Mode    string        `json:"mode"    check:"oneof=fast safe"`
//	Wait    time.Duration `json:"wait"    check:"min=10ms"`
//	Name    string        `json:"name"    check:"len=8,pattern=^[a-z]+$"`
//
// required: the key is there (it may be null where the type allows that). min and
// max: of a number, the value; of a duration, too; of a string, its characters; of
// an array or object, its elements. len: exactly as many. oneof: one of the words,
// which are separated by blanks. pattern: an RE2 expression that matches somewhere
// in a string; it is the last rule, since it may hold commas. duration: a string
// that [time.ParseDuration] takes. A key that is not there, and null, break no
// rule but required.
type rule struct {
	name, arg string
	re        *regexp.Regexp
}

// parseRules reads a tag.
func parseRules(tag string) (rules []rule, required bool, err error) {
	for rest := tag; rest != ""; {
		var text string
		if strings.HasPrefix(rest, "pattern=") {
			text, rest = rest, ""
		} else {
			text, rest, _ = strings.Cut(rest, ",")
		}
		r := rule{}
		var hasArg bool
		r.name, r.arg, hasArg = strings.Cut(text, "=")
		switch r.name {
		case "required":
			required = true
			continue
		case "duration":
		case "min", "max", "oneof":
		case "len":
			_, err = strconv.ParseUint(r.arg, 10, 31)
		case "pattern":
			r.re, err = regexp.Compile(r.arg)
		default:
			return nil, false, fmt.Errorf("check:%q: no rule %q: use required, min, max, len, oneof, pattern or duration", tag, r.name)
		}
		if err == nil && hasArg == (r.name == "duration") || err == nil && hasArg && r.arg == "" {
			err = fmt.Errorf("what it compares with")
		}
		if err != nil {
			return nil, false, fmt.Errorf("check:%q: rule %s: %w", tag, r.name, err)
		}
		rules = append(rules, r)
	}
	return rules, required, nil
}

// obeys checks the rules of a field against a value that has the field's type.
func (c *checker) obeys(f field, v any) error {
	if v == nil {
		return nil
	}
	for _, r := range f.rules {
		expect, have, err := r.broken(v, f.typ)
		if err != nil {
			return fmt.Errorf("cfgblob: key %q: rule %s=%s: %w", joinPath(c.path), r.name, r.arg, err)
		}
		if expect != "" {
			return &FieldError{Path: joinPath(c.path), Expect: expect, Have: have}
		}
	}
	return nil
}

// broken says what was expected and, without quoting it, what there is; "" if the
// rule is kept. An error is one of the rule.
func (r rule) broken(v any, t reflect.Type) (expect, have string, err error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch r.name {
	case "oneof":
		words := strings.Fields(r.arg)
		if s, isText := scalarText(v); !isText || !slices.Contains(words, s) {
			return "one of " + strings.Join(words, " "), kindOf(v) + " that is none of them", nil
		}
	case "pattern":
		if s, isString := v.(string); !isString || !r.re.MatchString(s) {
			return "a string that matches " + r.arg, kindOf(v) + " that does not", nil
		}
	case "duration":
		s, isString := v.(string)
		if _, err := time.ParseDuration(s); !isString || err != nil {
			return `a duration such as "1m30s"`, kindOf(v) + " that is none", nil
		}
	case "len":
		n, counts := sizeOf(v)
		if !counts {
			return "", "", fmt.Errorf("%s has no length: use it on a string, an array or an object", kindOf(v))
		}
		if fmt.Sprint(n) != r.arg {
			return "exactly " + r.arg + unitOf(v), strconv.Itoa(n), nil
		}
	case "min", "max":
		order, err := r.compare(v, t)
		if err != nil {
			return "", "", err
		}
		limit := r.arg
		if t != reflect.TypeFor[time.Duration]() {
			limit += unitOf(v)
		}
		if r.name == "min" && order < 0 {
			return "at least " + limit, "less", nil
		}
		if r.name == "max" && order > 0 {
			return "at most " + limit, "more", nil
		}
	}
	return "", "", nil
}

// compare is -1, 0 or +1 as v is less than, equal to or more than the limit.
func (r rule) compare(v any, t reflect.Type) (int, error) {
	if d, is := durationOf(v); is && t == reflect.TypeFor[time.Duration]() {
		limit, err := time.ParseDuration(r.arg)
		return cmp.Compare(d, limit), err
	}
	if n, counts := sizeOf(v); counts {
		limit, err := strconv.Atoi(r.arg)
		return cmp.Compare(n, limit), err
	}
	n, isNumber := v.(json.Number)
	if !isNumber {
		return 0, fmt.Errorf("%s is neither more nor less: use it on numbers, durations, strings, arrays and objects", kindOf(v))
	}
	// Integers are compared as such, so that no digit is lost.
	if a, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		if b, err := strconv.ParseInt(r.arg, 10, 64); err == nil {
			return cmp.Compare(a, b), nil
		}
	}
	if a, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		if b, err := strconv.ParseUint(r.arg, 10, 64); err == nil {
			return cmp.Compare(a, b), nil
		}
	}
	a, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return 0, err
	}
	b, err := strconv.ParseFloat(r.arg, 64)
	return cmp.Compare(a, b), err
}

func sizeOf(v any) (int, bool) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), true
	case []any:
		return len(v), true
	case map[string]any:
		return len(v), true
	}
	return 0, false
}

func unitOf(v any) string {
	switch v.(type) {
	case string:
		return " characters"
	case []any, map[string]any:
		return " elements"
	}
	return ""
}

func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// durationOf reads a duration: "1m30s", or an integer of nanoseconds.
func durationOf(v any) (time.Duration, bool) {
	switch v := v.(type) {
	case string:
		d, err := time.ParseDuration(v)
		return d, err == nil
	case json.Number:
		n, err := strconv.ParseInt(string(v), 10, 64)
		return time.Duration(n), err == nil
	}
	return 0, false
}
