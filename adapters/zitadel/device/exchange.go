package device

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	tokenPath = "/oauth/v2/token"
	// maxAnswer bounds an answer of the token endpoint.
	maxAnswer = 256 << 10
	// MaxToken bounds a token: a broker takes no larger one.
	maxToken = 16 << 10
	// maxExpiresIn bounds the lifetime that is believed, in seconds.
	maxExpiresIn = 400 * 24 * 60 * 60
	// maxDescription bounds the provider's words in an error.
	maxDescription = 200
)

// grant is what the token endpoint gave.
type grant struct {
	token    string
	lifetime time.Duration
}

// refusal is an answer of the token endpoint that gives no token.
type refusal struct {
	status      int
	code        string
	description string
}

func (r *refusal) Error() string {
	parts := []string{http.StatusText(r.status), r.code, r.description}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", ")
}

// exchange trades an assertion for a token. The time of the answer's Date is
// returned as well, zero without one.
func (s *TokenSource) exchange(ctx context.Context, signed string) (grant, time.Time, error) {
	form := url.Values{"grant_type": {grantType}, "assertion": {signed}, "scope": {s.scope}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.Issuer+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		return grant{}, time.Time{}, domain.WrapError(domain.ErrInvalid, err, "request to %s", s.config.Issuer)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return grant{}, time.Time{}, unreachable(err, s.config.Issuer)
	}
	defer response.Body.Close()
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		date = time.Time{}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return grant{}, date, unreachable(err, s.config.Issuer)
	}
	granted, err := decodeAnswer(response.StatusCode, body)
	return granted, date, err
}

// unreachable says why there was no answer, without the request in it.
func unreachable(err error, issuer string) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if certificate, ok := errors.AsType[x509.CertificateInvalidError](err); ok && certificate.Reason == x509.Expired {
		return domain.WrapError(domain.ErrUnavailable, err, "the certificate of the identity provider %s is not valid at the time of this device's clock, %s: check the clock first",
			issuer, time.Now().UTC().Format(time.RFC3339))
	}
	return domain.WrapError(domain.ErrUnavailable, err, "the identity provider %s cannot be reached", issuer)
}

// decodeAnswer reads an answer of the token endpoint.
func decodeAnswer(status int, body []byte) (grant, error) {
	var answer struct {
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
		Error       string      `json:"error"`
		Description string      `json:"error_description"`
		Message     string      `json:"message"`
	}
	err := json.Unmarshal(body, &answer)
	if status != http.StatusOK {
		if err != nil { // a proxy's page
			return grant{}, &refusal{status: status}
		}
		description := answer.Description
		if description == "" {
			description = answer.Message
		}
		return grant{}, &refusal{status: status, code: printable(answer.Error), description: printable(description)}
	}
	if err != nil || len(body) > maxAnswer {
		return grant{}, domain.Errorf(domain.ErrUnavailable, "the identity provider's answer is not that of a token endpoint")
	}
	seconds, err := answer.ExpiresIn.Int64()
	if err != nil || seconds < 1 || seconds > maxExpiresIn {
		return grant{}, domain.Errorf(domain.ErrUnavailable, "the identity provider gave a token without a usable lifetime")
	}
	if !plausible(answer.AccessToken) {
		return grant{}, domain.Errorf(domain.ErrUnavailable, "the identity provider gave a token that is empty or malformed")
	}
	return grant{token: answer.AccessToken, lifetime: time.Duration(seconds) * time.Second}, nil
}

// plausible reports whether a text can be a bearer token.
func plausible(token string) bool {
	return token != "" && len(token) <= maxToken && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// printable makes foreign words fit for an error.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	return text[:min(len(text), maxDescription)]
}

// hasRole reports whether a token carries a role of the project. Its signature is
// not checked: it is the verifier who decides, and this is only to know whether
// it is worth showing.
func hasRole(token, project string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return false
	}
	var roles map[string]json.RawMessage
	raw := bytes.TrimSpace(claims["urn:zitadel:iam:org:project:"+project+":roles"])
	return json.Unmarshal(raw, &roles) == nil && len(roles) > 0
}
