package deploy

import (
	"context"
	"fmt"
	"reflect"
)

// Part is a Score on its topology, of which a larger one is made.
type Part interface {
	Name() string
	Resources() ([]Resource, error)
	Smoke(ctx context.Context, progress Progress) error
}

// PartOf returns the part of that name that a Score is on a topology.
func PartOf[T any](name string, score Score[T], topology T) Part {
	return part[T]{name, score, topology}
}

type part[T any] struct {
	name     string
	score    Score[T]
	topology T
}

func (p part[T]) Name() string                   { return p.name }
func (p part[T]) Resources() ([]Resource, error) { return p.score.Resources(p.topology) }

func (p part[T]) Smoke(ctx context.Context, progress Progress) error {
	return p.score.Smoke(ctx, p.topology, progress)
}

// Join returns the resources of all parts in order, with the names of the parts
// before their IDs. What two parts name alike, such as their namespace, is one
// thing, and the first one's.
func Join(parts ...Part) ([]Resource, error) {
	var all []Resource
	seen := map[string]reflect.Type{}
	for _, part := range parts {
		resources, err := part.Resources()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.Name(), err)
		}
		for _, resource := range resources {
			kind := reflect.TypeOf(resource)
			if seen[resource.ID()] == kind {
				continue
			}
			seen[resource.ID()] = kind
			all = append(all, nested{Resource: resource, id: part.Name() + ": " + resource.ID()})
		}
	}
	return all, nil
}

// nested is a resource of a part.
type nested struct {
	Resource

	id string
}

func (n nested) ID() string { return n.id }

// SmokeAll runs the smoke tests of all parts in order, until one fails.
func SmokeAll(ctx context.Context, progress Progress, parts ...Part) error {
	for _, part := range parts {
		progress(part.Name())
		err := part.Smoke(ctx, func(note string) { progress(part.Name() + ": " + note) })
		if err != nil {
			return fmt.Errorf("%s: %w", part.Name(), err)
		}
	}
	return nil
}
