"""The errors that this project raises itself. All hang on PoolmgrError, those of one program on that program's root.

    PoolmgrError                what both programs share (common/)
      AddressNotAllowedError
      BadJobError
      BadLinkError              NoLinkError
      BadRedisUrlError
      BadSettingsError
      BadUrlError
      CannotExportError
      RedirectedError
      SpeechError
      StoreError                AbsentError, TakenError
      UnconfirmedError
      UndecodableError
      UnencodedError
      ManagerError              the manager (poolmgr/)
        ApiError
        BadCursorError
        BadTraceError
        CannotListenError
        CannotMirrorError
        CannotReadSqsError
        CannotRunError
        CannotScaleError
        CannotShowError
        DisagreementError
        IllegalMoveError
        LeaseLostError
        ProviderError           BusyError, RefusedError, UnsureError
        StaleEpochError
      AgentError                the agent (worker/)
        AccountError
        BadAdapterError
        BadRulesError
        BrowserError
        CannotAuditError
        CannotJoinError
        CannotProbeError
        CannotServeError
        CannotSignInError
        CannotStartError
        ContestedError
        DamagedRecordingError
        DriverError
        FilesNotMadeError
        IllegalMoveError
        LinkError
        OutOfOrderError
        UnknownError
        UnsentError             RefusedError

An IllegalMoveError is a bug, and nobody catches it. Every other message begins with what is wrong and says what to do.
"""


class PoolmgrError(Exception):
    """The root of all errors of this project."""


class ManagerError(PoolmgrError):
    """The root of the manager's errors."""


class AgentError(PoolmgrError):
    """The root of the agent's errors."""
