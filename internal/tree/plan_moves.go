package tree

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
)

// PlanMoves draws up to count moves of directories to other parents that WithMoves can describe: each directory
// moves at most once, and none below another that moves. The same seed draws the same moves of the same tree.
func (s *Source) PlanMoves(count int, seed uint64) ([]Moved, error) {
	directories, err := s.directories("")
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(seed, 0))
	random.Shuffle(len(directories), func(i, j int) { directories[i], directories[j] = directories[j], directories[i] })
	// A quarter may move, so that enough others stay to move them to.
	var moving []string
	for _, candidate := range directories[:len(directories)/4] {
		nested := slices.ContainsFunc(moving, func(other string) bool { return within(candidate, other) || within(other, candidate) })
		if !nested && len(moving) < count {
			moving = append(moving, candidate)
		}
	}
	targets := slices.DeleteFunc(slices.Clone(directories), func(at string) bool {
		return slices.ContainsFunc(moving, func(other string) bool { return within(at, other) })
	})
	var moves []Moved
	for i, from := range moving {
		for range targets {
			target := targets[random.IntN(len(targets))]
			if target != parent(from) {
				moves = append(moves, Moved{From: from, To: fmt.Sprintf("%s/moved-%d-%s", target, i, path.Base(from))})
				break
			}
		}
	}
	return moves, nil
}

// within reports whether a path is another one or lies below it.
func within(at, other string) bool { return at == other || strings.HasPrefix(at, other+"/") }

// directories lists every directory below one, but not itself.
func (s *Source) directories(at string) ([]string, error) {
	names, err := s.children(at)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, name := range names {
		below, err := s.directories(path.Join(at, name))
		if err != nil {
			return nil, err
		}
		all = append(append(all, path.Join(at, name)), below...)
	}
	return all, nil
}
