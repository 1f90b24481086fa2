"""What the error codes of servers mean, in words and in numbers: one table for every way in which an error can arrive.

The codes are those of OpenAI ("Error codes", and ``ResponseErrorCode`` of its OpenAPI document) and of the servers named. Letter
case and separators are ignored: ``InvalidApiKey``, ``invalid-api-key`` and ``API_KEY_INVALID`` are as good as each other.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.deltas import Failure

# The meanings. All but QUOTA are outcomes too: a quota that is used up is rate_limited, and no wait helps.
RATE = "rate_limited"
QUOTA = "quota"
KEY = "unauthorized"
FILTER = "filtered"
REQUEST = "bad_request"
SERVER = "server_error"

_WORDS = {
    RATE: """rate_limit_exceeded rate_limit_error rate_limit rate_limited rate_limit_reached_error too_many_requests
        slow_down requests tokens resource_exhausted request_limit_exceeded concurrency_limit_exceeded
        throttling throttling_exception throttling_rate_quota throttling_burst_rate throttling_allocation_quota
        engine_overloaded_error 1302 1303 1305 base_resp_1002 base_resp_1039 base_resp_1041""",
    QUOTA: """insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded
        project_spend_limit_exceeded organization_usage_limit_exceeded billing_hard_limit_reached billing_not_active
        insufficient_balance insufficient_balance_error insufficient_credits exceeded_current_quota_error
        payment_required arrearage billing_error 1113 base_resp_1008 base_resp_2056""",
    KEY: """invalid_api_key api_key_invalid incorrect_api_key_error missing_api_key expired_api_key unauthorized
        unauthenticated authentication_error invalid_authentication_error permission_denied permission_error
        permission_denied_error access_denied forbidden invalid_token token_expired account_deactivated
        invalid_organization mismatched_organization ip_not_authorized unsupported_country_region_territory
        1001 1002 1003 1004 base_resp_1004 base_resp_2049""",
    FILTER: """content_filter content_filtered content_policy_violation responsible_ai_policy_violation
        moderation_blocked moderation_failed data_inspection_failed sensitive safety prohibited_content
        guardrail_intervened bio_policy cyber_policy misalignment_policy_violation image_content_policy_violation
        content_risk sensitive_content 1301 base_resp_1026 base_resp_1027""",
    REQUEST: """context_length_exceeded exceed_context_size_error prompt_too_long request_too_large
        string_above_max_length invalid_prompt invalid_value invalid_type invalid_parameter invalid_argument
        invalid_request invalid_request_error invalid_json bad_request bad_request_error unknown_parameter
        unsupported_parameter unsupported_value missing_required_parameter model_not_found model_not_exist
        model_not_supported unsupported_model not_found not_found_error not_supported_error unsupported_model
        previous_response_not_found data_residency_mismatch unprocessable_entity validation_error invalid_image
        invalid_image_format invalid_base64_image invalid_image_url image_too_large image_too_small
        image_parse_error invalid_image_mode image_file_too_large unsupported_image_media_type empty_image_file
        image_file_not_found failed_to_download_image 1210 1211 1214 1261 base_resp_2013""",
    SERVER: """server_error internal_error internal_server_error internal api_error overloaded_error overloaded
        server_is_overloaded service_unavailable service_unavailable_error unavailable unavailable_error
        model_overloaded bad_gateway timeout timeout_error deadline_exceeded vector_store_timeout
        insufficient_system_resource base_resp_1000 base_resp_1001 base_resp_1033""",
}

# Words in messages, for servers that have no code, or one for everything. Only a failure that nothing else explains is read so.
_PHRASES = (
    ("api key not valid", KEY),
    ("invalid api key", KEY),
    ("incorrect api key", KEY),
    ("no api key", KEY),
    ("insufficient credit", QUOTA),
    ("insufficient balance", QUOTA),
    ("exceeded your current quota", QUOTA),
    ("content management policy", FILTER),
    ("content policy", FILTER),
    ("usage policies", FILTER),
    ("content filter", FILTER),
    ("inappropriate content", FILTER),
    ("input was flagged", FILTER),
    ("maximum context length", REQUEST),
    ("context size", REQUEST),
    ("rate limit", RATE),
    ("too many requests", RATE),
)


def _plain(code: str) -> str:
    return "".join(letter for letter in code.lower() if letter.isalnum())


_MEANINGS = {_plain(word): meaning for meaning, words in _WORDS.items() for word in words.split()}


def meaning(failure: Failure) -> str | None:
    """Return one of this module's meanings, None for a failure that only its status could explain.

    A code in words counts for more than a status: servers answer a wrong key with 400 (Gemini), a filter with 400 (Azure) or 403.
    A type counts for less, for ``invalid_request_error`` is what OpenAI calls nearly all of them.
    """
    status = status_of(failure)
    code = _meaning_of(failure.code, failure)
    type = _meaning_of(failure.type, failure)
    if status == 402:
        return QUOTA
    for found in (code, type):
        if found in (QUOTA, FILTER, KEY) and (status is None or status < 500):
            return found
    if code is not None:
        return code
    said = failure.message.lower()
    phrase = next((meant for words, meant in _PHRASES if words in said), None)
    if status is None:
        return type or phrase
    if status in (400, 403) and phrase is not None:
        return phrase
    # Gemini calls every limit a quota, and says when it is over.
    if status == 429 and phrase == QUOTA and (type != RATE or failure.retry_after is None):
        return QUOTA
    return None


def status_of(failure: Failure) -> int | None:
    """Return the HTTP status of a failure; vLLM, llama.cpp and OpenRouter put one into ``code`` of an error in a stream."""
    code = failure.code or ""
    # Three ASCII digits: int() raises on other characters that isdigit() takes. The status of a success explains no error.
    if failure.status is None and len(code) == 3 and code.isascii() and code.isdigit() and code >= "400":
        return int(code)
    return failure.status


def _meaning_of(word: str | None, failure: Failure) -> str | None:
    if not word:
        return None
    if word == "base_resp":
        return _MEANINGS.get(_plain(f"{word}_{failure.code}"))
    return _MEANINGS.get(_plain(word)) if word is not failure.code or failure.type != "base_resp" else None
