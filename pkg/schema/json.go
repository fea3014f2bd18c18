package schema

import (
	"encoding/json"
	"fmt"
	"strconv"

	"yardmaster.dev/pkg/fleet"
)

// Dialect is the JSON Schema that is written.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// id names the schema; nothing is fetched from there.
const id = "https://yardmaster.dev/schema/v1alpha1.json"

// node is a part of a JSON Schema. Its fields are written in this order.
type node struct {
	Schema      string           `json:"$schema,omitempty"`
	ID          string           `json:"$id,omitempty"`
	Title       string           `json:"title,omitempty"`
	Description string           `json:"description,omitempty"`
	Ref         string           `json:"$ref,omitempty"`
	OneOf       []*node          `json:"oneOf,omitempty"`
	Type        string           `json:"type,omitempty"`
	Const       string           `json:"const,omitempty"`
	Enum        []string         `json:"enum,omitempty"`
	Pattern     string           `json:"pattern,omitempty"`
	Default     any              `json:"default,omitempty"`
	Minimum     *int             `json:"minimum,omitempty"`
	Items       *node            `json:"items,omitempty"`
	Properties  map[string]*node `json:"properties,omitempty"`
	Required    []string         `json:"required,omitempty"`
	// Additional is false, or the schema of a map's values.
	Additional any              `json:"additionalProperties,omitempty"`
	Defs       map[string]*node `json:"$defs,omitempty"`
}

// The patterns of what has units: editors show them; the words of the rules
// are validate's.
const (
	patternDuration = `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	patternQuantity = `^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$`
)

// JSON returns the schema of all documents: one file for every editor.
func JSON() ([]byte, error) {
	root := &node{
		Schema: Dialect, ID: id, Title: "Yardmaster documents",
		Description: "Fleet, Network and Site, " + fleet.APIVersion, Defs: map[string]*node{},
	}
	for _, doc := range Documents() {
		root.OneOf = append(root.OneOf, define(root, doc))
	}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the JSON Schema: %w", err)
	}
	return append(text, '\n'), nil
}

// define puts an object's schema among the definitions and returns a
// reference to it.
func define(root *node, f *Field) *node {
	ref := &node{Ref: "#/$defs/" + f.goType}
	if root.Defs[f.goType] != nil {
		return ref
	}
	def := &node{Type: "object", Properties: map[string]*node{}, Additional: false}
	root.Defs[f.goType] = def
	for _, child := range f.Fields {
		p := property(root, child)
		switch child.Path {
		case f.Path + ".kind":
			p.Const = f.goType
		case f.Path + ".apiVersion":
			p.Const = fleet.APIVersion
		}
		def.Properties[child.Name] = p
		if child.Required {
			def.Required = append(def.Required, child.Name)
		}
	}
	return ref
}

func property(root *node, f *Field) *node {
	p := value(root, f)
	switch f.Shape {
	case List:
		p = &node{Type: "array", Items: p}
	case Map:
		p = &node{Type: "object", Additional: p}
	case One:
	}
	p.Description = f.Means
	if f.Default != "" {
		p.Description += " Default: " + f.Default + "."
		p.Default = f.defaultValue()
	}
	return p
}

func value(root *node, f *Field) *node {
	switch f.Type {
	case Object:
		return define(root, f)
	case Number:
		return &node{Type: "integer", Minimum: new(int)}
	case Boolean:
		return &node{Type: "boolean"}
	case Duration:
		return &node{Type: "string", Pattern: patternDuration}
	case Quantity:
		return &node{Type: "string", Pattern: patternQuantity}
	case Text:
	}
	return &node{Type: "string", Enum: f.OneOf}
}

// defaultValue is the default as a value, nil when it is told in words.
func (f *Field) defaultValue() any {
	switch f.Type {
	case Number:
		if n, err := strconv.Atoi(f.Default); err == nil {
			return n
		}
	case Boolean:
		return f.Default == "true"
	case Duration:
		return f.Default
	case Text:
		for _, word := range f.OneOf {
			if word == f.Default {
				return word
			}
		}
	case Quantity, Object:
	}
	return nil
}
