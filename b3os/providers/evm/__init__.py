"""Provider evm: balances, tokens, contracts, receipts and transfers on any configured EVM chain."""

from b3os.actions.spec import Provider
from b3os.providers.evm.balances import GET_BALANCE, GET_NATIVE_BALANCE, GET_TOKEN_INFO
from b3os.providers.evm.contracts import GET_TRANSACTION_RECEIPT, READ_CONTRACT
from b3os.providers.evm.declared import GET_NFT_OWNER, UNWRAP_NATIVE_TOKEN
from b3os.providers.evm.transfers import SEND_ERC20_TOKEN, SEND_NATIVE_TOKEN

EVM = Provider(
    name="evm",
    title="EVM chains",
    actions=(
        GET_NATIVE_BALANCE,
        GET_BALANCE,
        GET_TOKEN_INFO,
        READ_CONTRACT,
        GET_TRANSACTION_RECEIPT,
        GET_NFT_OWNER,
        SEND_NATIVE_TOKEN,
        SEND_ERC20_TOKEN,
        UNWRAP_NATIVE_TOKEN,
    ),
)
