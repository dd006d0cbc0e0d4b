"""WeChat SDKs for Python with the tokens of a Lingpai broker. None is given an AppSecret, so that none can ask WeChat for a token.

Each is a module that needs its SDK: ``lingpai.adapters.wechatpy`` (``pip install lingpai[wechatpy]``) and ``lingpai.adapters.werobot``
(``pip install lingpai[werobot]``).
"""
