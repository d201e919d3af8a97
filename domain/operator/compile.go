package operator

import (
	"bytes"
	"encoding/json"
	"unique"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// compiled is one generation of a deployment's spec, ready to become part of
// many documents. It never changes.
type compiled struct {
	name       contracts.DeploymentName
	handle     nameHandle
	generation uint64
	scoreType  contracts.ScoreType
	template   *domain.Template
	// head is the JSON of the entry up to the score's data; its end is
	// entryTail.
	head []byte
	// static is the whole JSON of the entry when it is the same everywhere.
	static []byte
	// problem is why no device can be given it.
	problem string
}

const entryTail = "}}"

// maxFailure keeps the text of a failure within what a status carries well.
const maxFailure = 512

func compile(name contracts.DeploymentName, generation uint64, score contracts.ReconcileScore) *compiled {
	c := &compiled{name: name, handle: unique.Make(name), generation: generation, scoreType: score.Type}
	if err := c.read(score); err != nil {
		c.problem = contracts.Clip(err.Error(), maxFailure)
	}
	return c
}

func (c *compiled) read(score contracts.ReconcileScore) error {
	var data bytes.Buffer
	if err := json.Compact(&data, score.Data); err != nil {
		return err
	}
	var err error
	if c.template, err = domain.ParseTemplate(data.Bytes()); err != nil {
		return err
	}
	c.head, err = entryHead(c.name, c.generation, score.Type)
	if err != nil || !c.template.Static() {
		return err
	}
	expanded, err := c.template.Expand("", nil)
	if err == nil {
		err = checkScore(score.Type, expanded)
	}
	if err != nil {
		return err
	}
	c.static = append(append(bytes.Clone(c.head), expanded...), entryTail...)
	return nil
}

// entryHead is the JSON of contracts.DesiredDeployment up to the score's data.
func entryHead(name contracts.DeploymentName, generation uint64, score contracts.ScoreType) ([]byte, error) {
	const data = "0"
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(contracts.DesiredDeployment{
		Name:       name,
		Generation: generation,
		Score:      contracts.ReconcileScore{Type: score, Data: json.RawMessage(data)},
	})
	return bytes.TrimSuffix(out.Bytes(), []byte(data+entryTail+"\n")), err
}

// checkScore looks into the data of the score types that this version knows,
// as an agent will.
func checkScore(score contracts.ScoreType, data json.RawMessage) error {
	s := contracts.ReconcileScore{Type: score, Data: data}
	var err error
	switch score {
	case contracts.ScorePodmanV0:
		_, err = s.PodmanV0()
	case contracts.ScoreProcessV0:
		_, err = s.ProcessV0()
	}
	return err
}

// appendEntry appends the JSON of the deployment's entry in one device's
// document. labels is called at most once, and only for templates. Unchecked,
// what templates expand to is not looked into.
func (c *compiled) appendEntry(out []byte, id contracts.DeviceID, labels func() contracts.Labels, check bool) ([]byte, error) {
	switch {
	case c.problem != "":
		return out, domain.Errorf(domain.ErrInvalid, "%s", c.problem)
	case c.static != nil:
		return append(out, c.static...), nil
	}
	data, err := c.template.Expand(id, labels())
	if err != nil {
		return out, err
	}
	if check {
		if err := checkScore(c.scoreType, data); err != nil {
			return out, err
		}
	}
	out = append(append(out, c.head...), data...)
	return append(out, entryTail...), nil
}
